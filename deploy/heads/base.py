"""What every head shares: its checks, its counters and the context manager."""

import importlib
from decimal import Decimal
from types import ModuleType, TracebackType
from typing import Any, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from sqdr.backends import Accuracy, HeadReport
from sqdr.circuit import Entangler
from sqdr.errors import ConfigError, DataError, DeviceError, MissingDependencyError, ShapeError

__all__ = [
    "HeadBase",
    "check_angles",
    "check_entangler",
    "check_folds",
    "check_limits",
    "check_shots",
    "check_weights",
    "import_extra",
]

Head = TypeVar("Head", bound="HeadBase")
# Nine CZ for each leave little of a signal that one may lose a percent of.
MAX_FOLDS = 9


def import_extra(module: str) -> ModuleType:
    """Return a module of the Braket and PennyLane stack.

    Raises:
        MissingDependencyError: it is not installed, or its import fails.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingDependencyError(
            f"module {module} cannot be imported: {error}. Install it with: pip install 'sqdr[braket]'"
        ) from error


def check_angles(angles: Any, n_qubits: int) -> NDArray[np.float64]:
    """Return the angles as (N, n_qubits, 3) float64.

    Raises:
        ShapeError: the shape is another one.
        DataError: an angle is not a finite number.
    """
    try:
        if np.iscomplexobj(angles):
            raise TypeError
        array = np.asarray(angles, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"`angles` must be real numbers, got {type(angles).__name__}.") from error
    if array.ndim != 3 or array.shape[1:] != (n_qubits, 3):
        raise ShapeError(f"`angles` must be (N, {n_qubits}, 3), got {array.shape}.")
    if not np.isfinite(array).all():
        sample, qubit, k = np.argwhere(~np.isfinite(array))[0]
        raise DataError(f"`angles` must be finite, got {array[sample, qubit, k]} at [{sample}, {qubit}, {k}].")
    return array


def check_weights(weights: Any) -> NDArray[np.float64]:
    """Return the trained weights as (n_blocks, n_qubits, 3) float64.

    Raises:
        ShapeError: the shape is another one.
        DataError: a weight is not a finite number.
    """
    array = np.asarray(weights, dtype=np.float64)
    if array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        raise ShapeError(f"`weights` must be (n_blocks, n_qubits, 3), got {array.shape}.")
    if not np.isfinite(array).all():
        raise DataError("`weights` must be finite. Check the trained model.")
    return array


def check_entangler(entangler: Any) -> Entangler:
    """Return the entangler.

    Raises:
        ConfigError: there is none of this name.
    """
    known = get_args(Entangler)
    if entangler not in known:
        raise ConfigError(f"`entangler` must be one of {', '.join(known)}, got {entangler!r}.")
    return entangler  # type: ignore[no-any-return]


def check_limits(name: str, *, n_qubits: int, max_qubits: int, shots: int | None, range_: range) -> None:
    """Check a circuit against a device's limits; ``shots`` None is an exact run, checked elsewhere.

    Raises:
        DeviceError: too many qubits, or shots outside the range.
    """
    if n_qubits > max_qubits:
        raise DeviceError(f"{name} has {max_qubits} qubits, the circuit needs {n_qubits}. Choose a larger device.")
    check_shots(shots)
    if shots is not None and shots not in range_:
        raise DeviceError(f"`shots` must be {range_.start} to {range_.stop - 1} on {name}, got {shots}.")


def check_shots(shots: int | None) -> None:
    """Check that shots is None or a positive integer.

    Raises:
        DeviceError: it is not.
    """
    if shots is not None and (isinstance(shots, bool) or not isinstance(shots, int | np.integer) or shots < 1):
        raise DeviceError(f"`shots` must be a positive integer, or None for an exact run, got {shots!r}.")


def check_folds(cz_folds: int) -> int:
    """Return how many CZ gates stand for each.

    Raises:
        ConfigError: not an odd number of at least 1, at most `MAX_FOLDS`.
    """
    if isinstance(cz_folds, bool) or not isinstance(cz_folds, int) or cz_folds not in range(1, MAX_FOLDS + 1, 2):
        raise ConfigError(f"`cz_folds` must be an odd number from 1 to {MAX_FOLDS}, got {cz_folds!r}.")
    return cz_folds


class HeadBase:
    """Counters and context manager of a head; a subclass runs checked angles in ``_run``."""

    name: str
    accuracy: Accuracy
    is_paid = False

    def __init__(self, name: str, accuracy: Accuracy, n_qubits: int) -> None:
        self.name = name
        self.accuracy = accuracy
        self.n_qubits = n_qubits
        self._n_circuits = 0
        self._n_shots = 0

    def expectations(self, angles: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return <Z> (N, n_qubits), each in [-1, 1], for angles (N, n_qubits, 3) in radians.

        Raises:
            ShapeError: the angles are not (N, n_qubits, 3).
            DataError: an angle is not finite.
            DeviceError: the device cannot run this circuit.
            TaskError: a quantum task ended without a result.
        """
        checked = check_angles(angles, self.n_qubits)
        if len(checked) == 0:
            return np.empty((0, self.n_qubits))
        # Rounding may leave [-1, 1] by an ulp.
        return np.clip(self._run(checked), -1.0, 1.0)

    def _run(self, angles: NDArray[np.float64]) -> NDArray[np.float64]:
        raise NotImplementedError

    def _open(self) -> None:
        """Connect to what the head runs on; safe to call twice."""

    def _count(self, n_circuits: int, shots: int | None) -> None:
        self._n_circuits += n_circuits
        self._n_shots += n_circuits * (shots or 0)

    def _cost_usd(self) -> Decimal | None:
        return Decimal(0)

    def report(self) -> HeadReport:
        """Return circuits, shots and estimated cost so far."""
        return HeadReport(n_circuits=self._n_circuits, n_shots=self._n_shots, cost_usd=self._cost_usd())

    def close(self) -> None:
        """Release what the backend holds; safe to call twice."""

    def __enter__(self: Head) -> Head:
        """Start the backend and return it."""
        self._open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the backend, whatever happened inside."""
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {self.accuracy}, n_qubits={self.n_qubits})"
