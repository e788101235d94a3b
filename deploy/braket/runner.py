"""Run circuits as quantum tasks: journal first, a few in flight, every result kept, nothing paid twice."""

import contextlib
import datetime
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
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
    BackendTimeoutError,
    BudgetError,
    CanaryError,
    CredentialsError,
    DeviceError,
    SqdrError,
    TaskError,
)
from sqdr.money import dollars

__all__ = ["TaskRunner"]

logger = logging.getLogger(__name__)

# A task is asked for again after this share of the time that it has been waiting: found done at most so much late.
POLL_SHARE = 0.05
LONGEST_POLL_S = 60.0
QUOTA = "ServiceQuotaExceededException"
# Answers to a submission that mean that no task exists, if nothing was asked before: a lost answer may precede one.
REFUSALS = ("ValidationException", "DeviceOfflineException", "DeviceRetiredException", QUOTA)
# A task that a search does not show so long after its submission was never created.
SETTLED_S = 900.0


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
    """Runs requests on one device, one call at a time; the journal is open and its run has begun.

    Args:
        service: connected.
        journal: of the model.
        prices: of the device.
        options: see there.
        n_qubits: of every circuit.
        check_open: refuses a device that takes no tasks now; called before the first submission.
        spelled: programs in gates that the device lists.
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
    check_open: Callable[[], None] = lambda: None
    spelled: Mapping[str, str] = field(default_factory=dict)
    program_sets: ProgramSetLimits | None = None
    canary: CircuitRequest | None = None
    poll_s: float = 1.0
    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._open: dict[int, _Open] = {}
        self._waiting: deque[TaskPlan] = deque()
        self._blocked: deque[JournalTask] = deque()
        self._creating: JournalTask | None = None
        self._tries: Counter[str] = Counter()
        self._failures: dict[str, str] = {}
        self._wanted: dict[str, CircuitRequest] = {}
        self._unanswered_keys: set[str] = set()
        self._quota_full = self._is_checked = self._has_seen_one = False
        self._has_canary = True

    def run(self, requests: Sequence[CircuitRequest], *, has_canary: bool = True) -> list[CircuitResult]:
        """Return the result of each request, from the journal where it has been paid for.

        Args:
            requests: what to run.
            has_canary: False for circuits whose answers are known themselves.

        Raises:
            TaskError: some circuits failed for good; all others are in the journal.
            BackendTimeoutError: a task did not finish; it is in the journal and goes on.
            BudgetError: the next task would exceed the budget; the finished ones are in the journal.
            CanaryError: the device does not give known answers.
            CredentialsError, BackendError: the service refused, or stayed out of reach.
            KeyboardInterrupt: after asking whether to cancel what is unfinished.
        """
        self._has_canary = has_canary
        self._wanted = {request.key: request for request in requests}
        self._unanswered_keys = {key for key in self._wanted if self._look_up(key) is None}
        n_known = len(self._wanted) - len(self._unanswered_keys)
        logger.info("%s: %d circuits, of which the journal answers %d", self.service.name, len(self._wanted), n_known)
        self._tries.clear()
        self._failures.clear()
        try:
            self._settle()
            self._pick_up()
            if self._canary_alone is not None and self._missing(requests):
                self._finish(self._missing([self._canary_alone]))
                if self._canary_alone.key in self._failures:
                    raise CanaryError(f"the canary circuit has no result: {self._failures[self._canary_alone.key]}.")
            self._finish(self._missing(requests))
        except KeyboardInterrupt:
            self._interrupted()
            raise
        except SqdrError as error:
            self._forget()
            told = type(error)(f"{error} {self._so_far()}".rstrip())
            told.code = error.code
            raise told from None
        self._raise_failures()
        return [self._answer(request) for request in requests]

    # ---- what is wanted, and what the journal has

    @property
    def _canary_alone(self) -> CircuitRequest | None:
        """The canary where it is a task of its own."""
        return self.canary if self.program_sets is None and self._has_canary else None

    @property
    def _canary_in_sets(self) -> list[CircuitRequest]:
        return [self.canary] if self.canary is not None and self.program_sets is not None and self._has_canary else []

    def _look_up(self, key: str) -> CircuitResult | None:
        return self.journal.answer(key, suspects=self.canary is None)

    def _answer(self, request: CircuitRequest) -> CircuitResult:
        found = self._look_up(request.key)
        assert found is not None  # _finish returned, and no failure was raised
        return found

    def _missing(self, requests: Iterable[CircuitRequest]) -> list[CircuitRequest]:
        """The distinct requests that neither the journal answers nor an unfinished task will."""
        coming = {key for waited in self._open.values() for key in waited.task.keys} | self._failures.keys()
        coming |= {key for task in self._blocked for key in task.keys}
        distinct = {request.key: request for request in requests if request.key not in coming}
        return [request for key, request in distinct.items() if self._look_up(key) is None]

    def _settle(self) -> None:
        """Find out what became of submissions whose answer was never recorded."""
        mine = [task for task in self.journal.open_tasks() if task.device_arn == self.service.arn]
        for task in mine:
            if task.region != self.service.region:
                raise DeviceError(
                    f"the journal's tasks were submitted in {task.region}, this run is in {self.service.region}. "
                    f"Set AWS_REGION={task.region}."
                )
        salt, check = self.journal.account()
        if mine and check is not None and self.service.account_check(salt) != check:
            raise CredentialsError(
                "the journal's unfinished tasks were submitted from another AWS account. Use its credentials, or "
                "another --journal."
            )
        for task in mine:
            if task.name is not None:
                continue
            name = self.service.find(task.token, task.intended_at)
            if name is not None:
                logger.info("task %d was submitted earlier, as %s", task.task_id, name)
                self.journal.created(task, name)
            elif _age_s(task) > SETTLED_S:
                self.journal.ended(task, "FAILED", "the submission never reached the service")

    def _pick_up(self) -> None:
        """Wait for unfinished tasks of earlier runs that hold what is wanted."""
        wanted = self._unanswered_keys | ({self._canary_alone.key} if self._canary_alone is not None else set())
        for task in self.journal.open_tasks():
            is_here = task.task_id in self._open or task.device_arn != self.service.arn
            if is_here or wanted.isdisjoint(task.keys):
                continue
            if task.name is not None:
                logger.info("task %d, %s, of an earlier run is waited for", task.task_id, task.name)
                self._watch(task)
                continue
            # Just submitted, or not: the service creates one task for one token, so that it is safe to submit again.
            samples = {key for key, purpose in zip(task.keys, task.purposes, strict=True) if purpose != "canary"}
            if not samples <= wanted:
                raise TaskError(
                    f"a submission of {len(samples)} circuits, {_age_s(task) / 60:.0f} minutes ago, got no answer, and "
                    "this run wants some of them only. Wait a quarter of an hour, or go on with the run it was part of."
                )
            self._check_budget(Decimal(0))
            self._submit(task, is_repeated=True)

    # ---- submit, wait, collect

    def _finish(self, requests: Sequence[CircuitRequest]) -> None:
        """Submit the requests and wait until nothing is unfinished."""
        self._waiting.extend(pack(requests, self.program_sets, self._canary_in_sets, self.spelled))
        self._report()
        while self._waiting or self._blocked or self._open:
            self._fill()
            self._wait_for_next()

    @property
    def _limit(self) -> int:
        """How many tasks may be unfinished: one, until its canary, or its price on a simulator, is known."""
        is_blind = bool(self._canary_in_sets) or (self.options.budget_usd is not None and not self.service.is_qpu)
        return self.options.max_in_flight if self._has_seen_one or not is_blind else 1

    def _fill(self) -> None:
        while (self._waiting or self._blocked) and len(self._open) < self._limit and not self._quota_full:
            if self._blocked:
                self._submit(self._blocked.popleft(), is_repeated=True)
                continue
            if not self._is_checked:
                self.check_open()
                self._is_checked = True
            plan = self._waiting[0]
            cost = self._estimate(plan.n_shots)
            self._check_budget(cost)
            task = self.journal.intend(plan, self.service.arn, self.service.region, cost)
            self._waiting.popleft()
            self._submit(task)

    def _estimate(self, n_shots: int) -> Decimal | None:
        """Estimate a task: on a simulator, which bills by time, as the dearest so far."""
        cost = self.prices.before(n_shots)
        if cost is None or self.service.is_qpu:
            return cost
        return max(cost, self.journal.dearest_usd(self.service.arn))

    def _submit(self, task: JournalTask, *, is_repeated: bool = False) -> None:
        """Submit a task that the journal has, and wait for it; where the quota is full, after another has ended."""
        self._creating = task
        try:
            name = self._name_of(task, is_repeated)
        except (TaskError, DeviceError) as error:
            self._creating = None
            if error.code != QUOTA or not self._open:
                raise
            self._blocked.append(task)
            self._quota_full = True
            logger.info("task %d waits: the quota of %s is full", task.task_id, self.service.name)
            return
        logger.info(
            "task %d submitted to %s as %s: %d circuits, %d shots, estimated at %s",
            task.task_id,
            self.service.name,
            name,
            len(task.keys),
            task.n_shots,
            "an unknown price" if task.cost_usd is None else dollars(task.cost_usd),
        )
        self._watch(self.journal.created(task, name))
        self._creating = None
        salt, check = self.journal.account()
        if check is None:
            self.journal.set_account(self.service.account_check(salt))

    def _name_of(self, task: JournalTask, is_repeated: bool) -> str:
        """Return the name of a task, which is created unless its token has created it before."""
        try:
            return self.service.create(task.token, self.journal.action(task), task.n_shots)
        except (TaskError, DeviceError) as error:
            if error.code not in REFUSALS or error.code == QUOTA:
                raise
            if error.is_first_answer and not is_repeated:
                self.journal.ended(task, "FAILED", str(error))  # it never existed
                raise
            # an earlier answer may have been lost; if the search is too early, the journal keeps the task in doubt
            name = self.service.find(task.token, task.intended_at)
            if name is None:
                raise
            return name

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
        logger.debug("task %d, %s: %s, after %.0f s", task.task_id, task.name, waited.what, now - waited.since)
        if state.status == "COMPLETED":
            self._collect(waited, state)
        elif state.status in ("FAILED", "CANCELLED"):
            self._drop(task)
            self.journal.ended(task, state.status, state.reason)
            self._again(task.keys, f"{task.name} on {self.service.name} ended {state.status}: {state.reason}")
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
            logger.info("task %d is COMPLETED, its result not readable yet: %s", task.task_id, error)
            if self.now() - waited.missing_since >= self.options.result_patience_s:
                self._drop(task)
                reason = f"{task.name} on {self.service.name} is COMPLETED, but its result cannot be read: {error}"
                if self.options.gives_up_unreadable:
                    self.journal.ended(task, "UNREADABLE", reason)
                    self._again(task.keys, reason)
                else:  # paid for: it stays unfinished in the journal, to be read another time, and the others go on
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
        self._drop(task)
        logger.info("task %d completed after %.0f s", task.task_id, self.now() - waited.since)
        if suspect:
            self._cancel_open()
            raise CanaryError(
                f"{suspect}. The run was stopped, waiting tasks were cancelled; the results of this task are kept as "
                "suspect, and --no-canary takes them."
            )
        # a calibration has no canary, and shows nothing of the sets that do
        self._has_seen_one |= self.program_sets is None or "canary" in task.purposes
        self._unanswered_keys -= {key for key, each in zip(task.keys, results, strict=True) if not each.failure}
        failed = {key: each.failure for key, each in zip(task.keys, results, strict=True) if each.failure}
        if failed:
            reason = next(iter(failed.values()))
            self._again(failed, f"circuits of {task.name} on {self.service.name} failed: {reason}")

    def _look_at_canary(self, task: JournalTask, results: Sequence[CircuitResult]) -> str:
        if self.canary is None:
            return ""
        for purpose, result in zip(task.purposes, results, strict=True):
            if purpose == "canary" and result.failure:
                return f"the canary circuit on {self.service.name} failed: {result.failure}"
            if purpose == "canary":
                return check_canary(result, self.n_qubits, self.service.name)
        return ""

    def _again(self, keys: Iterable[str], reason: str) -> None:
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
        if again:
            logger.info("%s; trying %d circuits again", reason, len(again))
        self._waiting.extend(pack(again, self.program_sets, self._canary_in_sets, self.spelled))

    # ---- how it ends

    def _raise_failures(self) -> None:
        failed = {key: reason for key, reason in self._failures.items() if key in self._wanted}
        if not failed:
            return
        reason = next(iter(failed.values())).rstrip(".")
        samples = sorted({self._wanted[key].sample_id for key in failed} - {""})
        named = f" ({', '.join(samples[:5])}{', ...' if len(samples) > 5 else ''})" if samples else ""
        raise TaskError(
            f"{len(failed)} of {len(self._wanted)} circuits{named} have no result: {reason}. {self._so_far()}"
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
        n_open = len(self._open) + (self._creating is not None)
        if n_open and self.options.on_interrupt(n_open):
            if self._creating is not None:  # its answer was not waited for
                with contextlib.suppress(SqdrError):
                    name = self.service.find(self._creating.token, self._creating.intended_at)
                    if name is not None:
                        self._watch(self.journal.created(self._creating, name))
            self._cancel_open()
        self._forget()

    def _cancel_open(self) -> None:
        for waited in self._open.values():
            # Best effort: the error or the Ctrl-C that led here is the one to report. A task may still complete, so
            # that the journal waits for the service's last word.
            with contextlib.suppress(SqdrError):
                self.service.cancel(str(waited.task.name))
        self._forget()

    def _drop(self, task: JournalTask) -> None:
        """Wait for a task no more; one that the quota had no room for may have it now."""
        del self._open[task.task_id]
        self._quota_full = False

    def _forget(self) -> None:
        """Wait for nothing any more; the journal knows."""
        self._open.clear()
        self._waiting.clear()
        self._blocked.clear()
        self._creating = None
        self._quota_full = False

    def _report(self) -> None:
        done = len(self._wanted) - len(self._unanswered_keys)
        said = Counter(waited.what for waited in self._open.values() if waited.what)
        self.options.on_progress(done, len(self._wanted), ", ".join(f"{n} {what}" for what, n in said.items()))


def _age_s(task: JournalTask) -> float:
    return (datetime.datetime.now(datetime.timezone.utc) - task.intended_at).total_seconds()
