"""How the fake service behaves: what a test sets, and what it reads back."""

from dataclasses import dataclass, field

from sqdr.deploy.fakes.braket.clock import Clock
from sqdr.deploy.fakes.braket.faults import Faults
from sqdr.deploy.fakes.braket.results import ResultForm
from sqdr.deploy.fakes.braket.simulation import Drift, Readout
from sqdr.deploy.fakes.braket.tasks import FakeTask, Outcome

__all__ = ["Behaviour"]


@dataclass
class Behaviour:
    """What a test may set, at any time, and the records that it may read.

    Args:
        polls_before_done: how often a task says RUNNING before it ends.
        reverse_columns: return measured qubits last to first and say so, as a service is free to.
        outcomes: how the next tasks end, in order of submission, with the reason; COMPLETED when
            the list has run out.
        drop_results: complete tasks, but lose their results.
        requests: "METHOD path" of every request so far.
        tasks: every task created so far, by ARN.
        seed: makes the shots of a task a function of this seed, the text of its program, its device and number of
            shots, and of how often the same was asked before; None leaves them to the simulator's own generator.
        queue_s: seconds that a task waits, by ``clock``. With this or ``run_s`` polls do not count.
        run_s: seconds that a task then runs, by ``clock``.
        scramble_columns: measured bits in the wrong columns, and nothing says so.
        drift: a rate at which measured bits flip, or a function of the bits (n_shots, n_columns).
        executable_failures: for each of the next program sets, in order of submission, the reasons by
            number of the executables that fail, counted through the set.
        result_form: of program sets, ``inline`` in one object or ``by_reference`` in several.
        clock: what ``createdAt`` and ``endedAt`` show.
        faults: planted faults.
    """

    polls_before_done: int = 0
    reverse_columns: bool = False
    outcomes: list[tuple[Outcome, str]] = field(default_factory=list)
    drop_results: bool = False
    requests: list[str] = field(default_factory=list)
    tasks: dict[str, FakeTask] = field(default_factory=dict)
    seed: int | None = None
    queue_s: float | None = None
    run_s: float | None = None
    scramble_columns: bool = False
    drift: Drift = 0.0
    executable_failures: list[dict[int, str]] = field(default_factory=list)
    result_form: ResultForm = "inline"
    clock: Clock = field(default_factory=Clock)
    faults: Faults = field(default_factory=Faults)

    @property
    def life_s(self) -> tuple[float, float] | None:
        """Seconds in the queue and of running; None where polls drive a task's life."""
        if self.queue_s is None and self.run_s is None:
            return None
        return self.queue_s or 0.0, self.run_s or 0.0

    @property
    def readout(self) -> Readout:
        """What happens to measured bits."""
        return Readout(self.drift, self.scramble_columns, self.reverse_columns)
