"""The classical ends of the quantum head: spike counts to angles, and <Z> to logits."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sqdr.errors import BundleError, ShapeError
from sqdr.openqasm import to_openqasm
from sqdr.specification import HeadSpec

__all__ = ["MAX_HEAD_BYTES", "HeadParameters", "circuit_text", "counts_to_angles", "readout", "readout_matrix"]

# The largest head that a specification allows, 1,024 qubits read out into 1,000 classes, takes 8.3 MB.
MAX_HEAD_BYTES = 16 << 20
# Four names and shapes take some 300 bytes.
MAX_HEADER_BYTES = 64 << 10
LENGTH_BYTES = 8


@dataclass(frozen=True, kw_only=True)
class HeadParameters:
    """What training found for the head.

    Args:
        weights: (n_blocks, n_qubits, 3) float64, radians, the trained ``Rot`` angles.
        scale_rad: (F,) float64, the angle at rate 1 of each feature.
        readout_weight: (K, n_qubits) float64, or None without a readout.
        readout_bias: (K,) float64, or None without a readout.
    """

    weights: NDArray[np.float64]
    scale_rad: NDArray[np.float64]
    readout_weight: NDArray[np.float64] | None = None
    readout_bias: NDArray[np.float64] | None = None

    def tensors(self) -> dict[str, NDArray[np.float64]]:
        """Return the parameters by name, without those that are absent."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def save(self, path: Path) -> None:
        """Write the parameters as safetensors."""
        from safetensors.numpy import save

        path.write_bytes(save({name: np.ascontiguousarray(value) for name, value in self.tensors().items()}))

    @classmethod
    def load(cls, path: Path, spec: HeadSpec) -> "HeadParameters":
        """Read the parameters and check them against the specification.

        Raises:
            BundleError: not a safetensors file, or a tensor is missing, misshapen or not finite.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            tensors = load(_checked_bytes(path))
        # the last three for types that numpy lacks
        except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise BundleError(f"{path.name} is not a readable safetensors file. Export again.") from error
        expected: dict[str, tuple[int, ...]] = {
            "weights": (spec.n_blocks, spec.n_qubits, 3),
            "scale_rad": (spec.n_features,),
        }
        if spec.has_readout:
            expected |= {
                "readout_weight": (spec.n_classes, spec.n_qubits),
                "readout_bias": (spec.n_classes,),
            }
        shapes = {name: value.shape for name, value in tensors.items()}
        if shapes != expected or any(value.dtype != np.float64 for value in tensors.values()):
            raise BundleError(f"{path.name} must hold float64 tensors {expected}, got {shapes}. Export again.")
        if not all(np.isfinite(value).all() for value in tensors.values()):
            raise BundleError(f"{path.name} holds values that are not finite. Train and export again.")
        return cls(**tensors)


def _checked_bytes(path: Path) -> bytes:
    """Return a safetensors file whose declared header fits into it; its parser allocates by what is declared."""
    if path.stat().st_size > MAX_HEAD_BYTES:
        raise ValueError("larger than any head")
    data = path.read_bytes()
    if int.from_bytes(data[:LENGTH_BYTES], "little") > min(MAX_HEADER_BYTES, len(data) - LENGTH_BYTES):
        raise ValueError("a header larger than the file, or than that of any head")
    return data


def circuit_text(parameters: HeadParameters, spec: HeadSpec) -> str:
    """Return the trained circuit as OpenQASM 3; see `sqdr.openqasm`."""
    return to_openqasm(parameters.weights, spec.entangler, spec.features_per_qubit)


def counts_to_angles(
    counts: NDArray[np.int64], n_steps: int, scale_rad: NDArray[np.float64], spec: HeadSpec
) -> NDArray[np.float64]:
    """Return the ``Rot`` angles of each sample.

    Feature f of 3 per qubit is angle ``f % 3`` of qubit ``f // 3``; one per qubit is its middle
    angle (RY), with zeros around it.

    Args:
        counts: (N, F) integers, 0..n_steps.
        n_steps: T.
        scale_rad: (F,) radians at rate 1.
        spec: of the head.

    Returns:
        (N, n_qubits, 3) float64, radians.

    Raises:
        ShapeError: the counts are not (N, F).
    """
    if counts.ndim != 2 or counts.shape[1] != spec.n_features:
        raise ShapeError(f"`counts` must be (N, {spec.n_features}), got {counts.shape}.")
    angles = counts * (scale_rad / n_steps)
    if spec.features_per_qubit == 3:
        return angles.reshape(len(counts), spec.n_qubits, 3)
    padded = np.zeros((len(counts), spec.n_qubits, 3))
    padded[:, :, 1] = angles
    return padded


def readout(expectations: NDArray[np.float64], parameters: HeadParameters, spec: HeadSpec) -> NDArray[np.float64]:
    """Return logits (N, K) for expectations (N, n_qubits)."""
    if parameters.readout_weight is None or parameters.readout_bias is None:
        return expectations[:, : spec.n_classes]
    return expectations @ parameters.readout_weight.T + parameters.readout_bias


def readout_matrix(parameters: HeadParameters, spec: HeadSpec) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return weight (K, n_qubits) and bias (K,) of `readout`; without a readout, logit k is <Z_k>."""
    if parameters.readout_weight is None or parameters.readout_bias is None:
        return np.eye(spec.n_classes, spec.n_qubits), np.zeros(spec.n_classes)
    return parameters.readout_weight, parameters.readout_bias
