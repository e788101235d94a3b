"""What time it is for the fake service: real, or what a test says."""

import threading
from datetime import datetime, timedelta, timezone

from sqdr.errors import ConfigError

__all__ = ["Clock", "FakeClock", "iso_time"]

START = datetime(2026, 11, 1, tzinfo=timezone.utc)


class Clock:
    """The time of this machine."""

    def now(self) -> datetime:
        """Return the time, in UTC."""
        return datetime.now(timezone.utc)


class FakeClock(Clock):
    """A clock that stands still until it is advanced."""

    def __init__(self, start: datetime = START) -> None:
        """Set the clock.

        Args:
            start: the first time it shows, with a time zone.

        Raises:
            ConfigError: ``start`` has no time zone.
        """
        if start.tzinfo is None:
            raise ConfigError("`start` must have a time zone, for example tzinfo=timezone.utc.")
        self._now = start.astimezone(timezone.utc)
        self._lock = threading.Lock()

    def now(self) -> datetime:
        """Return the time that the clock shows, in UTC."""
        with self._lock:
            return self._now

    def advance(self, seconds: float) -> None:
        """Move the clock forward.

        Raises:
            ConfigError: ``seconds`` is negative.
        """
        if seconds < 0:
            raise ConfigError(f"`seconds` must not be negative, got {seconds}.")
        with self._lock:
            self._now += timedelta(seconds=seconds)


def iso_time(time: datetime) -> str:
    """Return a time as Braket's documents write it: YYYY-MM-DDTHH:mm:ss.sssZ.

    Source: braket.task_result.TaskMetadata, ``createdAt``, of amazon-braket-schemas 1.28.0.
    """
    return time.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
