"""Target hardware as YAML files: their schema, and the loader that finds and validates them."""

from sqdr.hw_configs.loader import list_hardware, load_hardware
from sqdr.hw_configs.schema import (
    BraketLocal,
    BraketQpu,
    BraketSimulator,
    Fidelities,
    GateNoise,
    HardwareConfig,
    Loihi2,
    NoiseModel,
    ReadoutNoise,
)

__all__ = [
    "BraketLocal",
    "BraketQpu",
    "BraketSimulator",
    "Fidelities",
    "GateNoise",
    "HardwareConfig",
    "Loihi2",
    "NoiseModel",
    "ReadoutNoise",
    "list_hardware",
    "load_hardware",
]
