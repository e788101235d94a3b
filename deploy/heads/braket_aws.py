"""A managed simulator or a quantum processor on Amazon Braket, through the Braket SDK and a journal."""

import contextlib
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sqdr.backends import ShotCounts
from sqdr.deploy.braket.backoff import Backoff
from sqdr.deploy.braket.canary import CANARY_SHOTS, canary_request, product_program
from sqdr.deploy.braket.capabilities import DeviceFacts, check_device, spelled
from sqdr.deploy.braket.journal import Journal
from sqdr.deploy.braket.options import BraketOptions, today
from sqdr.deploy.braket.prices import TaskPrices
from sqdr.deploy.braket.request import CircuitRequest
from sqdr.deploy.braket.results import CircuitResult
from sqdr.deploy.braket.runner import TaskRunner
from sqdr.deploy.braket.service import BraketService
from sqdr.deploy.heads.base import HeadBase, check_angles, check_limits, check_shots
from sqdr.deploy.heads.openqasm import ReuploadProgram
from sqdr.errors import ConfigError, DataError, DeviceError
from sqdr.hw_configs import BraketQpu, BraketSimulator

__all__ = ["BraketAwsHead"]

NO_INPUTS: Mapping[str, float] = {}


class BraketAwsHead(HeadBase):
    """One circuit per sample, in program sets where the device takes them, results in order.

    The angles travel as the inputs of one unchanging program rather than as numbers in its text: what
    is submitted is then the exported circuit, byte for byte where the device takes its gates, and a
    service that caches a compiled program by its text can. A gate that the device does not list among
    its ``supportedOperations`` is spelled in others (`ReuploadProgram.spelled_for`), and a processor is spared
    the last ring of CZ, which no result depends on (`ReuploadProgram.without_last_cz`). Nothing reaches the
    service before the device, its gates, the number of qubits and the shots have been checked against
    what the device itself reports; nothing is submitted that the journal has an answer to.

    Credentials come from boto3's own chain and are never read here. The results go to the bucket
    that the Braket SDK chooses (``AMZN_BRAKET_OUT_S3_BUCKET``, else the account's default one).
    """

    is_paid = True

    def __init__(
        self,
        openqasm: str,
        arn: str,
        *,
        shots: int | None,
        options: BraketOptions | None = None,
        hardware: BraketQpu | BraketSimulator | None = None,
    ) -> None:
        """Check what can be checked without the service.

        Args:
            openqasm: the circuit as the exporter writes it.
            arn: the device.
            shots: shots of each circuit; None for exact expectations, on a simulator only.
            options: the journal, and how tasks are run; without them the head cannot be opened.
            hardware: limits and prices known beforehand; None leaves the cost unknown.

        Raises:
            BundleError: the text is not a circuit as the exporter writes it.
            DeviceError: the ARN is malformed, or the circuit or the shots do not suit the hardware.
            ConfigError: there is a budget, and the prices are not known.
        """
        backoff = Backoff() if options is None else Backoff(patience_s=options.service_patience_s)
        self._service = BraketService(arn, backoff=backoff)
        program = ReuploadProgram.from_text(openqasm)
        is_qpu = self._service.is_qpu
        kind: Any = "hardware" if is_qpu else "exact" if shots is None else "sampled"
        super().__init__(self._service.name, kind, program.n_qubits)
        check_shots(shots)
        if is_qpu and shots is None:
            raise DeviceError(f"{self.name} is a quantum processor: it needs `shots`. Pass for example 1000.")
        if hardware is not None:
            check_limits(
                self.name,
                n_qubits=program.n_qubits,
                max_qubits=hardware.n_qubits.value,
                shots=shots,
                range_=hardware.shot_range,
            )
        self._prices = TaskPrices(hardware)
        if options is not None and options.budget_usd is not None and self._prices.before(1) is None:
            raise ConfigError("`budget` needs a device whose prices are known. Write a hardware file with its prices.")
        self._program, self._shots, self._options = program, shots, options
        self._stack = contextlib.ExitStack()
        self._facts: DeviceFacts | None = None
        self._journal: Journal | None = None
        self._runners: dict[bool, TaskRunner] = {}
        self._sample_ids: dict[bytes, str] = {}
        self._keys: set[str] = set()
        self._bill: tuple[Decimal, Decimal] = (Decimal(0), Decimal(0))

    def _open(self) -> None:
        """Open the journal, and ask the device unless the journal may have all the answers."""
        if self._journal is not None:
            return
        options = self._options
        if options is None:
            raise ConfigError(
                f"{self.name} may cost money for every circuit: name a `journal` file, which keeps what was paid for."
            )
        if not options.journal.exists():  # nothing can be answered from it
            self._check_device(self._connect())
        with contextlib.ExitStack() as stack:
            journal = stack.enter_context(Journal.open(options.journal, options.model))
            journal.begin_run({**options.request, "device": self.name, "shots": self._shots or 0})
            self._stack = stack.pop_all()
        self._journal = journal

    def _connect(self) -> DeviceFacts:
        if self._facts is None:
            self._facts = self._service.connect()
        return self._facts

    def _check_device(self, facts: DeviceFacts) -> None:
        assert self._options is not None  # _open has looked
        check_device(facts, self._program, self._shots, may_wait=self._options.may_wait)

    def close(self) -> None:
        """Close the journal; safe to call twice. What is unfinished goes on at the service."""
        self._bill = self._read_bill()
        self._journal = None
        self._runners.clear()
        self._stack.close()

    def name_samples(self, angles: NDArray[np.float64], sample_ids: Sequence[str]) -> None:
        """Say which image each row of angles (N, n_qubits, 3) is of, for the journal and for messages."""
        for row, sample_id in zip(np.asarray(angles, dtype=np.float64), sample_ids, strict=True):
            self._sample_ids.setdefault(row.tobytes(), sample_id)

    def _run(self, angles: NDArray[np.float64]) -> NDArray[np.float64]:
        if self._shots is not None:
            return self.sample(angles, self._shots).expectations
        return np.array([result.values for result in self._results(angles, 0, 0)], dtype=np.float64)

    def sample(self, angles: NDArray[np.float64], shots: int, part: int = 0) -> ShotCounts:
        """Return what was read for angles (N, n_qubits, 3).

        Args:
            angles: radians.
            shots: of each circuit.
            part: asks for the same circuit anew: the journal answers each part once.

        Raises:
            SqdrError: as `expectations`.
        """
        checked = check_angles(angles, self.n_qubits)
        check_shots(shots)
        return self._counts(self._results(checked, shots, part))

    def prepare(self, bits: NDArray[np.int64], shots: int) -> ShotCounts:
        """Return what was read after preparing each row of bits (M, n_qubits), to calibrate the readout.

        The day that the run was started enters the journal's key: a calibration of another day is no calibration.
        """
        rows = np.asarray(bits)
        if rows.ndim != 2 or rows.shape[1] != self.n_qubits or not np.isin(rows, (0, 1)).all():
            raise DataError(f"`bits` must be rows of {self.n_qubits} zeros and ones, got shape {rows.shape}.")
        check_shots(shots)
        self._open()
        assert self._options is not None  # opened
        requests = [
            CircuitRequest(
                device_arn=self._service.arn,
                source=product_program(np.pi * row),
                inputs=NO_INPUTS,
                shots=shots,
                part=self._options.started_on,
                purpose="calibration",
            )
            for row in rows
        ]
        return self._counts(self._submit(requests, shots, has_canary=False))

    def _results(self, angles: NDArray[np.float64], shots: int, part: int) -> list[CircuitResult]:
        self._program.check_unused(angles)
        self._open()
        source = self._program.with_measurements() if shots else self._program.with_expectations()
        requests = [
            CircuitRequest(
                device_arn=self._service.arn,
                source=source,
                inputs=self._program.bind(row),
                shots=shots,
                part=part,
                sample_id=self._sample_ids.get(row.tobytes(), ""),
            )
            for row in angles
        ]
        return self._submit(requests, shots)

    def _submit(
        self, requests: Sequence[CircuitRequest], shots: int, *, has_canary: bool = True
    ) -> list[CircuitResult]:
        journal, options = self._journal, self._options
        assert journal is not None and options is not None  # opened by the caller
        self._keys |= {request.key for request in requests}
        self._count(len(requests), shots or None)
        known = [journal.answer(request.key, suspects=not options.has_canary) for request in requests]
        found = [result for result in known if result is not None]
        if len(found) == len(requests):
            return found  # nothing to ask the service for
        facts = self._connect()
        check_limits(
            self.name,
            n_qubits=self.n_qubits,
            max_qubits=facts.n_qubits,
            shots=shots or None,
            range_=range(max(facts.shots[0], 1), facts.shots[1] + 1),
        )
        runner = self._runners.get(shots > 0)
        if runner is None:
            runner = self._runners[shots > 0] = self._new_runner(facts, journal, options, shots)
        self._keys |= {runner.canary.key} if runner.canary is not None else set()
        return runner.run(requests, has_canary=has_canary)

    def _new_runner(self, facts: DeviceFacts, journal: Journal, options: BraketOptions, shots: int) -> TaskRunner:
        canary = None
        if options.has_canary and shots:
            low, high = max(facts.shots[0], 1), facts.shots[1]
            canary = canary_request(self._service.arn, self.n_qubits, min(max(CANARY_SHOTS, low), high), part=today())
        device_program = spelled(facts, self._program.without_last_cz() if self._service.is_qpu else self._program)
        return TaskRunner(
            service=self._service,
            journal=journal,
            prices=self._prices,
            options=options,
            n_qubits=self.n_qubits,
            check_open=lambda: self._check_device(facts),
            spelled={
                self._program.with_measurements(): device_program.with_measurements(),
                self._program.with_expectations(): device_program.with_expectations(),
            },
            program_sets=facts.program_sets if shots and options.has_program_sets else None,
            canary=canary,
            poll_s=facts.poll_s,
        )

    def _counts(self, results: Sequence[CircuitResult]) -> ShotCounts:
        if not results:
            return ShotCounts.empty(0, self.n_qubits)
        return ShotCounts.concatenate([ShotCounts.from_rows(*result.bits(self.n_qubits)) for result in results])

    def _cost_usd(self) -> Decimal | None:
        """Return the estimate for the tasks that gave this head's results, whenever they were paid for."""
        return None if self._prices.before(1) is None else self._read_bill()[0]

    def paid_now_usd(self) -> Decimal | None:
        """Return the part of it that this run added to the journal; None if prices are not known."""
        return None if self._prices.before(1) is None else self._read_bill()[1]

    def _read_bill(self) -> tuple[Decimal, Decimal]:
        journal = self._journal
        if journal is None:
            return self._bill
        return journal.spent_usd(keys=self._keys), journal.spent_usd(run_id=journal.run_id)
