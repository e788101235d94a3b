"""What each of several processes takes of a batch, so that together they train as one would."""

from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["WHOLE", "Part", "Share"]


class Part(NamedTuple):
    """The images of a batch that are one process's own: ``start`` to ``stop`` of ``n``, shared by ``n_ranks``."""

    n: int
    start: int
    stop: int
    n_ranks: int

    @property
    def n_own(self) -> int:
        """How many are its own; 0 where the batch has fewer images than there are processes."""
        return self.stop - self.start

    @property
    def rows(self) -> slice:
        """Which to compute: its own, or one of another's, which counts for nothing.

        Every process takes part in every step, for the others wait for its gradient.
        """
        return slice(self.start, max(self.stop, self.start + 1))

    @property
    def weight(self) -> float:
        """Factor on the mean loss of the own images that makes the mean over processes that over the batch."""
        return self.n_own * self.n_ranks / self.n


@dataclass(frozen=True)
class Share:
    """One process's place among those that train together.

    Args:
        rank: 0 to ``n_ranks`` - 1; 0 alone writes.
        n_ranks: processes, one for each device.
    """

    rank: int = 0
    n_ranks: int = 1

    def of(self, n: int) -> Part:
        """Return the part of a batch of ``n`` images; parts differ by one image at most."""
        return Part(n, n * self.rank // self.n_ranks, n * (self.rank + 1) // self.n_ranks, self.n_ranks)


WHOLE = Share()
"""That of a process which trains alone."""
