"""What a fake backend does besides answering: take time, fail on a certain call, remember its calls."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from sqdr.errors import BackendCrashError, BackendError

__all__ = ["FakeCall", "FakeScript"]


@dataclass(frozen=True)
class FakeCall:
    """One call that a fake backend took.

    Args:
        method: its name, for example ``encode``.
        n_samples: in the batch.
    """

    method: str
    n_samples: int


@dataclass(kw_only=True)
class FakeScript:
    """How one fake backend behaves, and the record of what was asked of it.

    Args:
        delay_s: seconds that every call takes; closing the backend ends it sooner.
        error: raised by call number ``error_on_call``, and by no other.
        error_on_call: counted from 1.
        on_call: run at the start of every call with its number, before the delay and the error.
        calls: filled in order, the failing call included.
    """

    delay_s: float = 0.0
    error: BaseException | None = None
    error_on_call: int = 1
    on_call: Callable[[int], None] | None = None
    calls: list[FakeCall] = field(default_factory=list)
    _closed: threading.Event | None = field(default=None, init=False, repr=False)

    def start(self) -> None:
        """Let calls through from now on."""
        self._closed = threading.Event()

    def stop(self) -> None:
        """Refuse calls from now on and end the one under way; safe to call twice."""
        if self._closed is not None:
            self._closed.set()

    def play(self, name: str, method: str, n_samples: int) -> None:
        """Act out one call of the backend ``name``.

        Raises:
            BackendError: the backend is not started, or closed.
            BackendCrashError: it was closed during this call.
            BaseException: the script's own ``error``.
        """
        closed = self._closed
        if closed is None or closed.is_set():
            raise BackendError(f"backend '{name}' is not started. Use it in a `with` statement.")
        self.calls.append(FakeCall(method, n_samples))
        number = len(self.calls)
        if self.on_call is not None:
            self.on_call(number)
        if closed.wait(self.delay_s):
            raise BackendCrashError(f"backend '{name}' was closed during a call")
        if self.error is not None and number == self.error_on_call:
            raise self.error
