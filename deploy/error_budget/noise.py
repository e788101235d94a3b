"""The noise of a device as channels: as its file gives them, or worked out from published fidelities.

A published fidelity F is an average over states. A depolarizing channel on d dimensions that keeps the state with
probability q has F = q + (1 - q) / d and the process fidelity F_p = ((d + 1) F - 1) / d (Nielsen 2002,
doi:10.1016/S0375-9601(02)01272-0). Braket's one-qubit channel depolarizing(p) has F_p = 1 - p; a two-qubit gate gets
one on each of its qubits, so that F_p = (1 - p)^2. What is lost in other ways, such as crosstalk, is only in it as
far as the published number holds it.
"""

import math
from typing import NamedTuple

from sqdr.errors import ConfigError
from sqdr.hw_configs import BraketLocal, BraketQpu, GateNoise, HardwareConfig, NoiseModel, ReadoutNoise

__all__ = ["DeviceNoise", "device_noise", "noise_from_fidelities"]

MAX_DEPOLARIZING, MAX_READOUT = 0.75, 0.5


class DeviceNoise(NamedTuple):
    """A noise model, and where its numbers are from."""

    model: NoiseModel
    sources: tuple[str, ...]


def device_noise(hardware: HardwareConfig) -> DeviceNoise:
    """Return the noise of a hardware file.

    Raises:
        ConfigError: the file has none: a simulator without noise, a chip, or a fidelity that is unknown.
    """
    if isinstance(hardware, BraketLocal) and hardware.noise is not None:
        return DeviceNoise(hardware.noise, (f"the channels of {hardware.name}",))
    if not isinstance(hardware, BraketQpu):
        raise ConfigError(
            f"{hardware.name} has no noise to budget. Use a QPU's file, local_dm, or a file of your own with `noise`."
        )
    fidelities = hardware.fidelities
    figures = {} if fidelities is None else dict(fidelities)
    values = {name: figure.value for name, figure in figures.items()}
    missing = [name for name, value in values.items() if value is None] or ([] if figures else ["fidelities"])
    if missing:
        raise ConfigError(
            f"{hardware.name} has no noise to budget: {', '.join(missing)} unknown. Put them into a file of your own."
        )
    sources = tuple(f"{name} fidelity {fig.value:g}: {fig.source}, {fig.as_of}" for name, fig in figures.items())
    return DeviceNoise(noise_from_fidelities(**values), sources)


def noise_from_fidelities(*, one_qubit: float, two_qubit: float, readout: float) -> NoiseModel:
    """Return depolarizing channels and readout flips that have these fidelities, each from 0 to 1."""
    one = 1 - _process(one_qubit, 2)
    two = 1 - math.sqrt(max(_process(two_qubit, 4), 0.0))
    flip = min(1 - readout, MAX_READOUT)
    return NoiseModel(
        one_qubit_gate=GateNoise(depolarizing=min(one, MAX_DEPOLARIZING)),
        two_qubit_gate=GateNoise(depolarizing=min(two, MAX_DEPOLARIZING)),
        readout=ReadoutNoise(p1_given_0=flip, p0_given_1=flip),
    )


def _process(fidelity: float, dimension: int) -> float:
    return ((dimension + 1) * fidelity - 1) / dimension
