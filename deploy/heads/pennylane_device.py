"""Any PennyLane device by name, running the circuit's own definition."""

import difflib
import importlib.metadata
import inspect
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sqdr.circuit import Entangler, qnode
from sqdr.deploy.heads.base import HeadBase, check_entangler, check_shots, check_weights, import_extra
from sqdr.errors import DeviceError, MissingDependencyError

__all__ = ["PennyLaneHead"]

# What runs on Amazon Braket, with what it is told after a colon: braket.aws.qubit, braket.aws.ahs
AWS_PREFIX = "braket.aws."
PLUGIN = "amazon-braket-pennylane-plugin"
# The first version whose _braket_program_set_to_pl_result (braket_device.py) names the measured qubits; 1.33.7,
# 1.34.0, 1.34.2 and 1.35.0 to 1.35.1.post1 were read and do not.
FIRST_RIGHT = (1, 35, 2)
# A broadcast batch holds 2^n amplitudes (16 bytes) a sample: 64 MiB at most.
# 2^28 amplitudes are 4 GiB.
MAX_QUBITS = 28
MAX_BATCH_AMPLITUDES = 1 << 22


class PennyLaneHead(HeadBase):
    """A PennyLane device: ``default.qubit``, ``lightning.qubit``, ``braket.local.qubit`` and others.

    It runs ``sqdr.circuit.qnode`` itself, not the exported text, which makes it an independent check
    of the export. Braket's own processors and managed simulators are refused, by any name: the plugin
    1.33.7, the last for Python 3.10, returns qubit 0's expectation for every qubit on a processor that
    takes program sets (its issue 333), and no version counts what a run costs. The ARN as device goes
    through the Braket SDK, which is right.
    """

    def __init__(
        self,
        device_name: str,
        *,
        weights: NDArray[np.float64],
        entangler: Entangler,
        shots: int | None = None,
        seed: int | None = None,
    ) -> None:
        """Make the device.

        Args:
            device_name: as ``pennylane.device`` takes it; a backend of the plugin after a colon, such as
                ``braket.local.qubit:braket_dm``.
            weights: (n_blocks, n_qubits, 3) radians.
            entangler: which pairs of qubits the CZ gates join.
            shots: shots of each circuit; None for exact expectations.
            seed: makes the shots repeatable where the device takes a seed; without effect on an
                exact run.

        Raises:
            ShapeError: the weights are not (n_blocks, n_qubits, 3).
            DataError: a weight is not finite.
            ConfigError: there is no such entangler.
            DeviceError: the device is unknown, cannot be made, or takes no seed.
            MissingDependencyError: PennyLane is not installed.
        """
        if device_name.startswith(AWS_PREFIX):
            raise DeviceError(_why_refused(device_name))
        checked = check_weights(weights)
        if checked.shape[1] > MAX_QUBITS:
            raise DeviceError(
                f"pennylane:{device_name} takes at most {MAX_QUBITS} qubits here, got {checked.shape[1]}: its state "
                "would not fit in memory. Use local:sv."
            )
        check_shots(shots)
        check_entangler(entangler)
        super().__init__(f"pennylane:{device_name}", "sampled" if shots else "exact", checked.shape[1])
        self._weights = checked
        self._shots = shots
        self._batch = max(1, MAX_BATCH_AMPLITUDES >> self.n_qubits)
        pennylane = import_extra("pennylane")
        device = _make_device(pennylane, device_name, self.n_qubits, seed if shots else None)
        circuit = qnode(device, entangler, interface=None, diff_method=None)
        self._circuit = pennylane.set_shots(circuit, shots=shots) if shots else circuit

    def _run(self, angles: NDArray[np.float64]) -> NDArray[np.float64]:
        rows = []
        for start in range(0, len(angles), self._batch):
            batch = angles[start : start + self._batch]
            # n_qubits results of (N,) -> (N, n_qubits)
            rows.append(np.stack([np.asarray(z) for z in self._circuit(batch, self._weights)], axis=-1))
            self._count(len(batch), self._shots)
        return np.concatenate(rows)


def _why_refused(device_name: str) -> str:
    """Return why a device of the plugin that runs on Amazon Braket is refused, with the installed version."""
    try:
        version = importlib.metadata.version(PLUGIN)
    except importlib.metadata.PackageNotFoundError:
        version = "(not installed)"
    release = tuple(map(int, re.findall(r"\d+", version)[:3]))
    if release < FIRST_RIGHT:
        first = ".".join(map(str, FIRST_RIGHT))
        why = (
            f"{PLUGIN} {version} gives every qubit the expectation of qubit 0 on a processor that takes program sets "
            f"(its issue 333, in versions below {first})"
        )
    else:
        why = "what it costs is neither counted nor limited through PennyLane"
    return f"pennylane:{device_name} is refused: {why}. Pass the device's ARN as the device."


def _make_device(pennylane: Any, name: str, n_qubits: int, seed: int | None) -> Any:
    try:
        name, _, backend = name.partition(":")
        options = {"backend": backend} if backend else {}
        device = pennylane.device(name, wires=n_qubits, **options)
        if seed is None:
            return device
        # Devices of the older interface come wrapped.
        kind = type(getattr(device, "target_device", device))
        if "seed" in inspect.signature(kind.__init__).parameters:
            return pennylane.device(name, wires=n_qubits, seed=seed, **options)
    except pennylane.exceptions.DeviceError as error:
        if name.startswith("braket."):
            raise MissingDependencyError(
                f"pennylane:{name} needs the Braket plugin. Install it with: pip install 'sqdr[braket]'"
            ) from error
        known = sorted(getattr(pennylane, "plugin_devices", {}))
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"Did you mean '{near[0]}'? " if near else ""
        raise DeviceError(f"PennyLane has no device '{name}'. {hint}Known: {', '.join(known)}.") from error
    except Exception as error:
        raise DeviceError(f"PennyLane cannot make device '{name}' with {n_qubits} wires: {error}") from error
    raise DeviceError(f"pennylane:{name} takes no seed. Leave `seed` out, or use local:braket-sv.")
