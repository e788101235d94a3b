"""A head backend without a circuit: instant, repeatable, and told when to fail."""

from collections.abc import Mapping
from decimal import Decimal
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sqdr.backends import Accuracy, HeadReport, ShotCounts
from sqdr.deploy.fakes.script import FakeScript
from sqdr.errors import DataError, DeviceError, ShapeError
from sqdr.head import counts_to_angles

__all__ = ["FakeHead"]


class FakeHead:
    """A `HeadBackend` whose <Z> of a qubit is the cosine of the sum of its three angles.

    Samples that it ``knows`` are answered as told instead: with a bundle's golden samples it passes
    for that bundle's circuit. Shots are counted but not drawn: <Z> is then the nearest that they can give.

    Args:
        n_qubits: of the circuit.
        shots: that each circuit is said to take; None for an exact head.
        cost_usd: of one circuit.
        knows: the bytes of one sample's angles (n_qubits, 3) float64 to its <Z> (n_qubits,).
        script: delays, errors and the record of calls.
    """

    name = "fake"

    def __init__(
        self,
        n_qubits: int,
        *,
        shots: int | None = None,
        cost_usd: Decimal = Decimal(0),
        knows: Mapping[bytes, NDArray[np.float64]] | None = None,
        script: FakeScript | None = None,
    ) -> None:
        self.is_paid = False
        self.accuracy: Accuracy = "exact" if shots is None else "sampled"
        self.n_qubits = n_qubits
        self.script = script or FakeScript()
        self._shots, self._cost_usd = shots or 0, cost_usd
        self._knows = dict(knows or {})
        self._n_circuits = 0
        self._n_shots = 0

    @classmethod
    def from_bundle(cls, bundle: Any, *, shots: int | None = None, script: FakeScript | None = None) -> "FakeHead":
        """Return a fake with the width of an opened `sqdr.bundle.Bundle` that knows its golden samples."""
        model, golden = bundle.manifest.model, bundle.golden()
        scale_rad = bundle.head_parameters().scale_rad
        angles = counts_to_angles(golden.counts, model.coding.n_steps, scale_rad, model.head)
        knows = {sample.tobytes(): z for sample, z in zip(angles, golden.expectations, strict=True)}
        return cls(model.head.n_qubits, shots=shots, knows=knows, script=script)

    def expectations(self, angles: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return <Z> (N, n_qubits).

        Args:
            angles: (N, n_qubits, 3) radians.

        Raises:
            ShapeError: another shape.
            DataError: an angle is not finite.
            BackendError: not started, or closed.
            BaseException: the script's own error.
        """
        found = self._exact(angles, "expectations")
        if self._shots:
            found = 1 - 2 * _nearest_ones(found, self._shots) / self._shots
        self._count(len(found), self._shots)
        return found

    def sample(self, angles: NDArray[np.float64], shots: int, part: int = 0) -> ShotCounts:
        """Return the counts nearest to <Z>, the same for every part, as if the qubits were independent."""
        if shots < 1:
            raise DeviceError(f"`shots` must be a positive integer, got {shots}.")
        ones = _nearest_ones(self._exact(angles, "sample"), shots).astype(np.int64)
        return self._independent(ones, shots)

    def prepare(self, bits: NDArray[np.int64], shots: int) -> ShotCounts:
        """Return the bits, without a mistake."""
        self.script.play(self.name, "prepare", len(bits))
        return self._independent(np.asarray(bits, dtype=np.int64) * shots, shots)

    def _independent(self, ones: NDArray[np.int64], shots: int) -> ShotCounts:
        both = np.rint(ones[:, :, None] * ones[:, None] / shots).astype(np.int64)
        qubits = np.arange(self.n_qubits)
        both[:, qubits, qubits] = ones
        self._count(len(ones), shots)
        return ShotCounts(ones=ones, both=both, shots=np.full(len(ones), shots, dtype=np.int64))

    def _exact(self, angles: NDArray[np.float64], operation: str) -> NDArray[np.float64]:
        array = np.asarray(angles, dtype=np.float64)
        if array.ndim != 3 or array.shape[1:] != (self.n_qubits, 3):
            raise ShapeError(f"`angles` must be (N, {self.n_qubits}, 3), got {array.shape}.")
        if not np.isfinite(array).all():
            raise DataError("`angles` must be finite. Check the spike counts.")
        self.script.play(self.name, operation, len(array))
        found = np.cos(array.sum(axis=2))
        for sample, out in zip(array, found, strict=True):
            out[...] = self._knows.get(sample.tobytes(), out)
        return np.asarray(found)

    def _count(self, n_circuits: int, shots: int) -> None:
        self._n_circuits += n_circuits
        self._n_shots += n_circuits * shots

    def report(self) -> HeadReport:
        """Return circuits, shots and cost so far."""
        return HeadReport(
            n_circuits=self._n_circuits,
            n_shots=self._n_shots,
            cost_usd=self._n_circuits * self._cost_usd,
        )

    def close(self) -> None:
        """Refuse further calls; safe to call twice."""
        self.script.stop()

    def __enter__(self) -> "FakeHead":
        """Start, or start again."""
        self.script.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close, whatever happened inside."""
        self.close()


def _nearest_ones(expectations: NDArray[np.float64], shots: int) -> NDArray[np.float64]:
    """Return how many of the shots would be 1, rounded."""
    return np.asarray(np.rint((1 - expectations) / 2 * shots))
