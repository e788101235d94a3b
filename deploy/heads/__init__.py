"""Head backends: what runs the circuit and returns <Z>, one file per kind of device.

Each is loaded when it is first used, and Braket and PennyLane only when a head is opened: the parts of a
head can be used, and imported, without the others.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqdr.deploy.heads.adaptive import AdaptiveHead
    from sqdr.deploy.heads.braket_aws import BraketAwsHead
    from sqdr.deploy.heads.braket_local import BraketLocalHead
    from sqdr.deploy.heads.density_matrix import DensityMatrixHead
    from sqdr.deploy.heads.devices import list_devices, open_head
    from sqdr.deploy.heads.pennylane_device import PennyLaneHead
    from sqdr.deploy.heads.readout_mitigation import ReadoutMitigatedHead
    from sqdr.deploy.heads.routed import RoutedHead
    from sqdr.deploy.heads.statevector import StatevectorHead
    from sqdr.deploy.heads.zero_noise import ZeroNoiseHead

__all__ = [
    "AdaptiveHead",
    "BraketAwsHead",
    "BraketLocalHead",
    "DensityMatrixHead",
    "PennyLaneHead",
    "ReadoutMitigatedHead",
    "RoutedHead",
    "StatevectorHead",
    "ZeroNoiseHead",
    "list_devices",
    "open_head",
]

PLACES = {
    "AdaptiveHead": "adaptive",
    "BraketAwsHead": "braket_aws",
    "BraketLocalHead": "braket_local",
    "DensityMatrixHead": "density_matrix",
    "PennyLaneHead": "pennylane_device",
    "ReadoutMitigatedHead": "readout_mitigation",
    "RoutedHead": "routed",
    "StatevectorHead": "statevector",
    "ZeroNoiseHead": "zero_noise",
    "list_devices": "devices",
    "open_head": "devices",
}


def __getattr__(name: str) -> Any:
    if name in PLACES:
        return getattr(importlib.import_module(f"sqdr.deploy.heads.{PLACES[name]}"), name)
    raise AttributeError(f"module 'sqdr.deploy.heads' has no attribute '{name}'")
