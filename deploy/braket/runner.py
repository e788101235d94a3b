"""Run circuits as quantum tasks: journal first, a few in flight, every result kept, nothing paid twice."""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from sqdr.deploy.braket.canary import check_canary
from sqdr.deploy.braket.journal import Journal, JournalTask
from sqdr.deploy.braket.options import BraketOptions
from sqdr.deploy.braket.packing import ProgramSetLimits, TaskPlan, pack
from sqdr.deploy.braket.prices import TaskPrices
from sqdr.deploy.braket.request import CircuitRequest
from sqdr.deploy.braket.results import CircuitResult, ResultError, read_results
from sqdr.deploy.braket.service import BraketService, TaskState
from sqdr.errors import (
    BackendError,
    BackendTimeoutError,
    BudgetError,
    CanaryError,
    DeviceError,
    SqdrError,
    TaskError,
)
from sqdr.money import dollars

__all__ = ["TaskRunner"]

# A task is asked for again after this share of the time that it has been waiting: found done at most so much late.
POLL_SHARE = 0.05
LONGEST_POLL_S = 60.0
QUOTA = "ServiceQuotaExceededException"
# Answers to a submission that mean that no task exists, unlike an answer that was lost.
REFUSALS = ("ValidationException", "DeviceOfflineException", "DeviceRetiredException", QUOTA)


@dataclass
class _Open:
    """A task that is waited for."""

    task: JournalTask
    since: float
    next_poll: float
    missing_since: float | None = None
    what: str = ""


@dataclass
class TaskRunner:
    """Runs requests on one device. One at a time; the journal is open and its run has begun.

    Args:
        service: connected.
        journal: of the model.
        prices: of the device.
        options: see there.
        n_qubits: of every circuit.
        program_sets: the device's limits; None where it takes none, or the run is exact.
        canary: the known circuit; None for none.
        poll_s: seconds between two questions for a task that has just been submitted.
        sleep: waits; for tests.
        now: seconds; for tests.
    """

    service: BraketService
    journal: Journal
    prices: TaskPrices
    options: BraketOptions
    n_qubits: int
    program_sets: ProgramSetLimits | None = None
    canary: CircuitRequest | None = None
    poll_s: float = 1.0
    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._open: dict[int, _Open] = {}
        self._waiting: deque[TaskPlan] = deque()
        self._tries: Counter[str] = Counter()
        self._failures: dict[str, str] = {}
        self._wanted: dict[str, CircuitRequest] = {}
        self._unanswered_keys: set[str] = set()
        self._quota_full = False

    def run(self, requests: Sequence[CircuitRequest]) -> list[CircuitResult]:
        """Return the result of each request, from the journal where it has been paid for.

        Raises:
            TaskError: some circuits failed for good; all others are in the journal.
            BackendTimeoutError: a task did not finish; it is in the journal and goes on.
            BudgetError: the next task would exceed the budget; the finished ones are in the journal.
            CanaryError: the device does not give known answers.
            CredentialsError, BackendError: the service refused, or stayed out of reach.
            KeyboardInterrupt: after asking whether to cancel what is unfinished.
        """
        self._wanted = {request.key: request for request in requests}
        self._unanswered_keys = {key for key in self._wanted if self._look_up(key) is None}
        self._tries.clear()
        self._failures.clear()
        try:
            self._pick_up()
            if self._canary_alone is not None and self._missing(requests):
                self._finish(self._missing([self._canary_alone]))
            self._finish(self._missing(requests))
        except KeyboardInterrupt:
            self._interrupted()
            raise
        except SqdrError as error:
            self._forget()
            raise type(error)(f"{error} {self._so_far()}".rstrip()) from None
        self._raise_failures()
        return [self._answer(request) for request in requests]

    # ---- what is wanted, and what the journal has

    @property
    def _canary_alone(self) -> CircuitRequest | None:
        """The canary where it is a task of its own."""
        return self.canary if self.program_sets is None else None

    @property
    def _canary_in_sets(self) -> list[CircuitRequest]:
        return [self.canary] if self.canary is not None and self.program_sets is not None else []

    def _look_up(self, key: str) -> CircuitResult | None:
        return self.journal.answer(key, suspects=self.canary is None)

    def _answer(self, request: CircuitRequest) -> CircuitResult:
        found = self._look_up(request.key)
        assert found is not None  # _finish returned, and no failure was raised
        return found

    def _missing(self, requests: Iterable[CircuitRequest]) -> list[CircuitRequest]:
        """The distinct requests that neither the journal answers nor an unfinished task will."""
        coming = {key for waited in self._open.values() for key in waited.task.keys} | self._failures.keys()
        distinct = {request.key: request for request in requests if request.key not in coming}
        return [request for key, request in distinct.items() if self._look_up(key) is None]

    def _pick_up(self) -> None:
        """Wait for unfinished tasks of earlier runs that hold what is wanted, the possibly lost ones too."""
        wanted = self._unanswered_keys | ({self._canary_alone.key} if self._canary_alone is not None else set())
        for task in self.journal.open_tasks():
            if task.device_arn != self.service.arn or not wanted & set(task.keys):
                continue
            if task.region != self.service.region:
                raise DeviceError(
                    f"the journal's tasks were submitted in {task.region}, this run is in {self.service.region}. "
                    f"Set AWS_REGION={task.region}."
                )
            self._watch(task if task.name is not None else self._recover(task))

    def _recover(self, task: JournalTask) -> JournalTask:
        """Return a task whose submission was cut short, with its name: found by its tag, or submitted now.

        The service creates one task for one token, so that submitting again is safe where the search came
        too early.
        """
        name = self.service.find(task.token, task.intended_at)
        if name is None:
            return self._create(task)
        return self.journal.created(task, name)

    # ---- submit, wait, collect

    def _finish(self, requests: Sequence[CircuitRequest]) -> None:
        """Submit the requests and wait until nothing is unfinished."""
        self._waiting.extend(pack(requests, self.program_sets, self._canary_in_sets))
        self._report()
        while self._waiting or self._open:
            self._fill()
            self._wait_for_next()

    def _fill(self) -> None:
        while self._waiting and len(self._open) < self.options.max_in_flight and not self._quota_full:
            plan = self._waiting[0]
            cost = self.prices.before(plan.n_shots)
            self._check_budget(cost)
            task = self.journal.intend(plan, self.service.arn, self.service.region, cost)
            try:
                self._watch(self._create(task))
            except _QuotaError as error:
                if not self._open:
                    raise error.reason from None
                self._quota_full = True  # until one of ours has ended
                return
            self._waiting.popleft()

    def _create(self, task: JournalTask) -> JournalTask:
        try:
            name = self.service.create(task.token, self.journal.action(task), task.n_shots)
        except (TaskError, DeviceError) as error:
            if error.code in REFUSALS:
                # it never existed: the same circuits may be submitted as a new task
                self.journal.ended(task, "FAILED", str(error))
            if error.code == QUOTA:
                raise _QuotaError(error) from None
            raise
        return self.journal.created(task, name)

    def _check_budget(self, cost: Decimal | None) -> None:
        budget = self.options.budget_usd
        if budget is None or cost is None:
            return
        spent = self.journal.spent_usd()
        if spent + cost > budget:
            raise BudgetError(
                f"the next task is estimated at {dollars(cost)} and the journal holds {dollars(spent)}: over the "
                f"budget of {dollars(budget)}. Raise it, or take fewer shots."
            )

    def _watch(self, task: JournalTask) -> None:
        now = self.now()
        self._open[task.task_id] = _Open(task, now, now)

    def _wait_for_next(self) -> None:
        """Ask for the task that is due first, after waiting until it is."""
        if not self._open:
            return
        waited = min(self._open.values(), key=lambda each: each.next_poll)
        pause = waited.next_poll - self.now()
        if pause > 0:
            self.sleep(pause)
        self._poll(waited)
        self._report()

    def _poll(self, waited: _Open) -> None:
        task = waited.task
        state = self.service.state(str(task.name))
        now = self.now()
        waited.next_poll = now + max(self.poll_s, min(LONGEST_POLL_S, POLL_SHARE * (now - waited.since)))
        waited.what = f"{state.status} {state.queue_position}".strip()
        if state.status == "COMPLETED":
            self._collect(waited, state)
        elif state.status in ("FAILED", "CANCELLED"):
            del self._open[task.task_id]
            self._quota_full = False
            self.journal.ended(task, state.status, state.reason)
            self._again(task, task.keys, f"{task.name} on {self.service.name} ended {state.status}: {state.reason}")
        elif now - waited.since > self.options.task_timeout_s:
            raise BackendTimeoutError(
                f"{task.name} on {self.service.name} did not finish within {self.options.task_timeout_s:g} s."
            )

    def _collect(self, waited: _Open, state: TaskState) -> None:
        """Record a completed task's results."""
        task = waited.task
        try:
            results, billed_ms = read_results(
                lambda path, place: self.service.read(state, path, place), n_qubits=self.n_qubits, shots=task.shots
            )
        except (ResultError, TaskError) as error:
            # the service may be done before its storage is
            if waited.missing_since is None:
                waited.missing_since = self.now()
            if self.now() - waited.missing_since >= self.options.result_patience_s:
                # paid for: it stays unfinished in the journal, to be read another time, and the others go on
                del self._open[task.task_id]
                reason = f"{task.name} on {self.service.name} is COMPLETED, but its result cannot be read: {error}"
                self._failures |= dict.fromkeys(task.keys, reason)
            return
        suspect = self._look_at_canary(task, results)
        self.journal.completed(
            task,
            results,
            cost_usd=self.prices.after(task.n_shots, billed_ms),
            billed_ms=billed_ms,
            suspect=suspect,
        )
        del self._open[task.task_id]
        self._quota_full = False
        if suspect:
            self._cancel_open()
            raise CanaryError(
                f"{suspect}. The run was stopped, waiting tasks were cancelled; the results of this task are kept as "
                "suspect, and --no-canary takes them."
            )
        self._unanswered_keys -= {key for key, each in zip(task.keys, results, strict=True) if not each.failure}
        failed = {key: each.failure for key, each in zip(task.keys, results, strict=True) if each.failure}
        if failed:
            reason = next(iter(failed.values()))
            self._again(task, failed, f"circuits of {task.name} on {self.service.name} failed: {reason}")

    def _look_at_canary(self, task: JournalTask, results: Sequence[CircuitResult]) -> str:
        if self.canary is None:
            return ""
        for purpose, result in zip(task.purposes, results, strict=True):
            if purpose == "canary" and not result.failure:
                return check_canary(result, self.n_qubits, self.service.name)
        return ""

    def _again(self, task: JournalTask, keys: Iterable[str], reason: str) -> None:
        """Put circuits that failed back into the queue, unless they have been tried often enough."""
        wanted = dict(self._wanted)
        if self._canary_alone is not None:
            wanted[self._canary_alone.key] = self._canary_alone
        again = []
        for key in keys:
            self._tries[key] += 1
            if key not in wanted:
                continue
            if self._tries[key] < self.options.n_tries:
                again.append(wanted[key])
            else:
                self._failures[key] = reason
        self._waiting.extend(pack(again, self.program_sets, self._canary_in_sets))

    # ---- how it ends

    def _raise_failures(self) -> None:
        if not self._failures:
            return
        reason = next(iter(self._failures.values())).rstrip(".")
        samples = sorted({self._wanted[key].sample_id for key in self._failures if key in self._wanted} - {""})
        named = f" ({', '.join(samples[:5])}{', ...' if len(samples) > 5 else ''})" if samples else ""
        raise TaskError(
            f"{len(self._failures)} of {len(self._wanted)} circuits{named} have no result: {reason}. {self._so_far()}"
        )

    def _so_far(self) -> str:
        """Say what was paid for, and how to go on."""
        tasks = self.journal.tasks()
        done = sum(task.status == "COMPLETED" for task in tasks)
        pending = sum(not task.has_ended for task in tasks)
        if not done and not pending:
            return ""
        spent = self.journal.spent_usd()
        cost = f" (about {dollars(spent)})" if spent else ""
        return (
            f"The journal holds {done} finished and {pending} unfinished tasks{cost}; none is lost. "
            f"{self.options.how_to_resume} to go on."
        )

    def _interrupted(self) -> None:
        """Ask whether to cancel what is unfinished, and do it."""
        n_open = len(self._open)
        if n_open and self.options.on_interrupt(n_open):
            self._cancel_open()
        self._forget()

    def _cancel_open(self) -> None:
        for waited in list(self._open.values()):
            try:
                # it may still complete: the journal waits for the service's last word
                self.service.cancel(str(waited.task.name))
            except BackendError:
                continue  # it stays unfinished in the journal, and the error that led here is the one to report
        self._forget()

    def _forget(self) -> None:
        """Wait for nothing any more; the journal knows."""
        self._open.clear()
        self._waiting.clear()
        self._quota_full = False

    def _report(self) -> None:
        done = len(self._wanted) - len(self._unanswered_keys)
        said = Counter(waited.what for waited in self._open.values() if waited.what)
        self.options.on_progress(done, len(self._wanted), ", ".join(f"{n} {what}" for what, n in said.items()))


class _QuotaError(Exception):
    """The service takes no more tasks at the moment."""

    def __init__(self, reason: SqdrError) -> None:
        super().__init__(str(reason))
        self.reason = reason
