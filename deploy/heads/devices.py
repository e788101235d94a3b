"""From the name of a device to the head that runs on it."""

import difflib
from typing import cast

import numpy as np
from numpy.typing import NDArray

from sqdr.backends import HeadBackend
from sqdr.circuit import Entangler
from sqdr.deploy.braket.options import BraketOptions
from sqdr.deploy.heads.base import import_extra
from sqdr.deploy.heads.braket_aws import BraketAwsHead
from sqdr.deploy.heads.braket_local import BraketLocalHead
from sqdr.deploy.heads.density_matrix import NAME as DENSITY_MATRIX
from sqdr.deploy.heads.density_matrix import DensityMatrixHead
from sqdr.deploy.heads.pennylane_device import PennyLaneHead
from sqdr.deploy.heads.statevector import NAME as STATEVECTOR
from sqdr.deploy.heads.statevector import StatevectorHead
from sqdr.errors import DeviceError
from sqdr.hw_configs import (
    BraketLocal,
    BraketQpu,
    BraketSimulator,
    HardwareConfig,
    list_hardware,
    load_hardware,
)
from sqdr.hw_configs.loader import own_by_arn, own_file, packaged_by_arn, packaged_by_device, packaged_hardware

__all__ = ["find_hardware", "known_hardware", "list_devices", "open_head"]

LOCAL = {"local:braket-sv": "braket_local_sv", "local:braket-dm": "braket_local_dm"}
PENNYLANE = "pennylane:"
ARN = "arn:"


def list_devices() -> list[str]:
    """Return the device names that sqdr knows by itself; any PennyLane device, ARN or file comes on top."""
    quantum = [name for name in list_hardware() if packaged_hardware(name).kind != "loihi2"]
    return [STATEVECTOR, DENSITY_MATRIX, *LOCAL, "pennylane:default.qubit", "pennylane:lightning.qubit", *quantum]


def open_head(
    device: str,
    *,
    openqasm: str,
    weights: NDArray[np.float64],
    entangler: str,
    n_qubits: int,
    shots: int | None,
    seed: int | None = None,
    braket: BraketOptions | None = None,
    cz_folds: int = 1,
) -> HeadBackend:
    """Return the head that runs the circuit on a device. Nothing is submitted, nothing connects yet.

    Args:
        device: one of

            - ``local:sv``: the state vector in NumPy, which needs neither Braket nor PennyLane;
            - ``local:dm``: the density matrix in NumPy, without noise (``local_dm`` has it);
            - ``local:braket-sv``, ``local:braket-dm``: Braket's simulators here, without noise;
            - ``pennylane:<name>``: any PennyLane device;
            - ``arn:aws:braket:...``: a device on Amazon Braket;
            - the name or path of a hardware file (``local_dm`` and ``braket_local_dm`` with
              their noise, ``braket_sv1``, ``braket_iqm_garnet``).
        openqasm: the circuit as the exporter writes it, for Braket.
        weights: (n_blocks, n_qubits, 3) radians, the same circuit's for PennyLane and NumPy.
        entangler: ``ring``, ``chain`` or ``none``, the same circuit's for PennyLane and NumPy.
        n_qubits: qubits of the circuit.
        shots: shots of each circuit; None for exact expectations.
        seed: makes the shots repeatable on a local device; without effect on an exact run.
        braket: the journal and the rest of a run on Amazon Braket, which needs one.
        cz_folds: CZ gates that stand for each, odd, for `sqdr.deploy.heads.zero_noise`; on the density matrices
            and Braket's state vector only.

    Raises:
        DeviceError: the device is unknown, or cannot run this circuit, these shots or a seed.
        BundleError: ``openqasm`` is not a circuit as the exporter writes it, or of another width.
        MissingDependencyError: Braket or PennyLane is not installed.
    """
    head: StatevectorHead | DensityMatrixHead | PennyLaneHead | BraketLocalHead | BraketAwsHead
    if device == STATEVECTOR:
        head = StatevectorHead(weights=weights, entangler=cast(Entangler, entangler), shots=shots, seed=seed)
    elif device == DENSITY_MATRIX:
        joined = cast(Entangler, entangler)
        head = DensityMatrixHead(weights=weights, entangler=joined, shots=shots, seed=seed, cz_folds=cz_folds)
    elif device.startswith(PENNYLANE):
        name = device.removeprefix(PENNYLANE)
        head = PennyLaneHead(name, weights=weights, entangler=cast(Entangler, entangler), shots=shots, seed=seed)
    elif isinstance(hardware := find_hardware(device), BraketLocal):
        head = _local_head(hardware, openqasm, weights, cast(Entangler, entangler), shots, seed, cz_folds)
    else:
        head = _aws_head(device, hardware, openqasm, shots, seed, braket)
    if cz_folds != 1 and not isinstance(head, DensityMatrixHead | BraketLocalHead):
        raise DeviceError(
            f"`cz_folds` must be 1 on {head.name}, got {cz_folds}: only the local density matrices have noise to "
            "scale, and the compiler of a quantum processor removes pairs of CZ gates. Use local_dm."
        )
    if head.n_qubits != n_qubits:
        raise DeviceError(f"`n_qubits` must be the circuit's {head.n_qubits}, got {n_qubits}.")
    return head


def _local_head(
    hardware: BraketLocal,
    openqasm: str,
    weights: NDArray[np.float64],
    entangler: Entangler,
    shots: int | None,
    seed: int | None,
    cz_folds: int,
) -> BraketLocalHead | DensityMatrixHead:
    if hardware.simulator == "sqdr_dm":
        return DensityMatrixHead(
            weights=weights, entangler=entangler, hardware=hardware, shots=shots, seed=seed, cz_folds=cz_folds
        )
    return BraketLocalHead(openqasm, hardware, shots=shots, seed=seed, cz_folds=cz_folds)


def _aws_head(
    device: str,
    hardware: BraketQpu | BraketSimulator | None,
    openqasm: str,
    shots: int | None,
    seed: int | None,
    options: BraketOptions | None,
) -> BraketAwsHead:
    if seed is not None and shots is not None:
        raise DeviceError(f"device '{_short(device)}' takes no seed: the service draws the shots. Leave `seed` out.")
    if shots is None and isinstance(hardware, BraketSimulator) and not hardware.is_exact:
        raise DeviceError(f"{hardware.name} gives no exact expectations: it needs `shots`. Pass for example 1000.")
    import_extra("braket.aws")
    arn = device if hardware is None else hardware.arn
    return BraketAwsHead(openqasm, arn, shots=shots, hardware=hardware, options=options)


def _short(device: str) -> str:
    return device.rpartition("device/")[2]


def find_hardware(device: str) -> BraketLocal | BraketQpu | BraketSimulator | None:
    """Return the hardware of a Braket device string; None for an ARN that no file describes.

    Raises:
        DeviceError: no such device, or a chip that runs no circuits.
        ConfigError: its hardware file breaks a rule.
    """
    if device in LOCAL:
        local = cast(BraketLocal, packaged_hardware(LOCAL[device]))
        return local.model_copy(update={"noise": None, "name": device})
    if device.startswith(ARN):
        return _by_arn(device)
    _check_known(device)
    hardware: HardwareConfig = load_hardware(device)
    if isinstance(hardware, BraketLocal | BraketQpu | BraketSimulator):
        return hardware
    raise DeviceError(f"device '{device}' is a {hardware.kind} chip, not a quantum device. {_known()}")


def known_hardware(device: str) -> BraketLocal | BraketQpu | BraketSimulator | None:
    """Return the hardware file behind any device string; None where there is none: NumPy, PennyLane, an unknown ARN.

    Raises:
        DeviceError: no such device, or a chip that runs no circuits.
        ConfigError: its hardware file breaks a rule.
    """
    is_ours = device in (STATEVECTOR, DENSITY_MATRIX) or device.startswith(PENNYLANE)
    return None if is_ours else find_hardware(device)


def _by_arn(arn: str) -> BraketQpu | BraketSimulator | None:
    """A file of the working folder wins over one that comes with sqdr, as by name."""
    found = own_by_arn(arn) or packaged_by_arn(arn)
    elsewhere = packaged_by_device(_short(arn)) if found is None and "::device/" in arn else None
    if elsewhere is not None:
        raise DeviceError(
            f"'{arn}' is not where {elsewhere.name}.yaml has this device. Use {elsewhere.arn}, or, if it has moved, "
            "write a hardware file of your own with its new ARN."
        )
    return found


def _check_known(device: str) -> None:
    if device.endswith((".yaml", ".yml")) or device in list_hardware() or own_file(device):
        return
    near = difflib.get_close_matches(device, list_devices(), n=1, cutoff=0.4)
    hint = f"Did you mean '{near[0]}'? " if near else ""
    raise DeviceError(f"device '{device}' is unknown. {hint}{_known()}")


def _known() -> str:
    return f"Known: {', '.join(list_devices())}; pennylane:<name>, an ARN, or a path ending in .yaml."
