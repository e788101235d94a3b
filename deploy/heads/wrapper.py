"""What heads that wrap a head share: they are opened and closed with it, and its bill is theirs."""

from collections.abc import Sequence
from types import TracebackType
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sqdr.backends import Accuracy, HeadBackend, HeadReport

__all__ = ["HeadWrapper", "drawn_accuracy"]

Wrapper = TypeVar("Wrapper", bound="HeadWrapper")


class HeadWrapper:
    """Hands everything but ``expectations`` to the head inside."""

    def __init__(self, inner: HeadBackend, name: str, accuracy: Accuracy) -> None:
        self.name = name
        self.accuracy: Accuracy = accuracy
        self.is_paid = inner.is_paid
        self._inner = inner

    def name_samples(self, angles: NDArray[np.float64], sample_ids: Sequence[str]) -> None:
        """Tell the head inside, if it wants to know, which image each row of angles (N, n_qubits, 3) is of."""
        tell = getattr(self._inner, "name_samples", None)
        if tell is not None:
            tell(angles, sample_ids)

    def report(self) -> HeadReport:
        """Return circuits, shots and cost so far."""
        return self._inner.report()

    def close(self) -> None:
        """Close the head inside; safe to call twice."""
        self._inner.close()

    def __enter__(self: Wrapper) -> Wrapper:
        """Start the head inside and return this one."""
        self._inner.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the head inside, whatever happened."""
        self._inner.__exit__(kind, value, trace)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._inner!r})"


def drawn_accuracy(inner: HeadBackend) -> Accuracy:
    """Return what shots of a head are, whether or not it was opened for exact expectations."""
    return "sampled" if inner.accuracy == "exact" else inner.accuracy
