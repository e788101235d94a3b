"""Head backends: what runs the circuit and returns <Z>, one file per kind of device.

Braket and PennyLane are imported when a head is opened, not when this package is.
"""

from sqdr.deploy.heads.braket_aws import BraketAwsHead
from sqdr.deploy.heads.braket_local import BraketLocalHead
from sqdr.deploy.heads.density_matrix import DensityMatrixHead
from sqdr.deploy.heads.devices import list_devices, open_head
from sqdr.deploy.heads.pennylane_device import PennyLaneHead
from sqdr.deploy.heads.statevector import StatevectorHead

__all__ = [
    "BraketAwsHead",
    "BraketLocalHead",
    "DensityMatrixHead",
    "PennyLaneHead",
    "StatevectorHead",
    "list_devices",
    "open_head",
]
