"""How a paid run is run: one place for what the command line, the Python interface and the runner share."""

import datetime
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqdr.errors import ConfigError

__all__ = ["BraketOptions", "today"]


def today() -> int:
    """Return the day, UTC."""
    return datetime.datetime.now(datetime.timezone.utc).date().toordinal()


def _keep(n_open: int) -> bool:
    """Cancel nothing."""
    return False


def _silent(done: int, total: int, what: str) -> None:
    """Say nothing."""


@dataclass(frozen=True, kw_only=True)
class BraketOptions:
    """Options of a run on Amazon Braket.

    Args:
        journal: the file that remembers what was submitted and paid for; made if there is none.
        model: what tells the bundle from others in the journal, the SHA-256 of its manifest.
        request: what the run was asked for, kept in the journal for people.
        budget_usd: the most that all tasks of the journal may cost together, estimated.
        has_program_sets: pack circuits into program sets where the device takes them.
        has_canary: a circuit with a known answer in every program set, or before the other tasks.
        may_wait: submit although the device is outside its execution windows.
        max_in_flight: the most tasks submitted and not yet finished.
        task_timeout_s: the longest wait for one task, queue included.
        n_tries: how often a circuit is submitted in one run before its failure is final.
        result_patience_s: how long a completed task's result may be missing or unreadable.
        service_patience_s: how long the service may be out of reach or busy.
        on_interrupt: asked at Ctrl-C with the number of unfinished tasks whether to cancel them.
        on_progress: told circuits done, circuits asked for, and what the service says of the others.
        started_on: the day that the run was started, as `datetime.date.toordinal` has it; a calibration of the readout
            holds for it.
        gives_up_unreadable: end tasks whose result stays unreadable and run their circuits again, paid again.
        how_to_resume: for messages.
    """

    journal: Path
    model: str
    request: Mapping[str, Any] = field(default_factory=dict)
    budget_usd: Decimal | None = None
    has_program_sets: bool = True
    has_canary: bool = True
    may_wait: bool = False
    max_in_flight: int = 10
    task_timeout_s: float = 7 * 24 * 3600.0
    n_tries: int = 3
    result_patience_s: float = 120.0
    service_patience_s: float = 900.0
    on_interrupt: Callable[[int], bool] = _keep
    on_progress: Callable[[int, int, str], None] = _silent
    started_on: int = field(default_factory=today)
    gives_up_unreadable: bool = False
    how_to_resume: str = "Ask for the same again with this journal"

    def __post_init__(self) -> None:
        for name in ("max_in_flight", "n_tries"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ConfigError(f"`{name}` must be a whole number of at least 1, got {value!r}.")
        for name in ("task_timeout_s", "result_patience_s", "service_patience_s"):
            value = getattr(self, name)
            if not 0 < value < float("inf"):
                raise ConfigError(f"`{name}` must be seconds above 0, got {value!r}.")
