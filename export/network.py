"""What an export rule looks at, and what it says when the network breaks it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numpy.typing import NDArray

from sqdr.errors import ConfigError
from sqdr.hw_configs import Loihi2
from sqdr.hw_configs.loader import packaged_hardware
from sqdr.netx import NetxLayer

__all__ = ["DEFAULT_HARDWARE", "Found", "Network", "Violation", "parameter", "with_weights"]

DEFAULT_HARDWARE = "loihi2_sim"

Found = Iterator[tuple[int, str, str]]
"""(layer position, problem, fix)"""


@cache
def _default_hardware() -> Loihi2:
    hardware = packaged_hardware(DEFAULT_HARDWARE)
    if not isinstance(hardware, Loihi2):
        raise ConfigError(f"hardware file {DEFAULT_HARDWARE}.yaml must be of the kind loihi2. Install sqdr again.")
    return hardware


@dataclass(frozen=True)
class Network:
    """What is about to be deployed, and to what.

    Args:
        layers: as written.
        payloads: largest value of one input spike at each of the T steps, after which every state is
            reset.
        shapes: output shape that each conv and dense layer must have, (C, H, W) or (F,); None to
            accept any.
        hardware: whose limits hold; the file ``loihi2_sim`` that comes with sqdr if none is given.
    """

    layers: list[NetxLayer]
    payloads: tuple[int, ...] = (1,)
    shapes: tuple[tuple[int, ...], ...] | None = None
    hardware: Loihi2 = field(default_factory=_default_hardware)


@dataclass(frozen=True)
class Violation:
    """One broken rule.

    Args:
        rule: the rule's name.
        layer: position and kind of the layer at fault.
        problem: what is wrong, with the number and the limit.
        fix: what to change.
    """

    rule: str
    layer: str
    problem: str
    fix: str

    def __str__(self) -> str:
        return f"[{self.rule}] {self.layer}: {self.problem} {self.fix}"


def with_weights(network: Network) -> Iterator[tuple[int, NetxLayer, NDArray[np.int64]]]:
    """Yield (position, layer, its weights) of every conv and dense layer that has any."""
    for index, layer in enumerate(network.layers):
        if layer.kind in ("conv", "dense") and layer.weight is not None and layer.weight.size:
            yield index, layer, layer.weight


def parameter(layer: NetxLayer, name: str) -> NDArray[np.int64] | None:
    """Return a neuron parameter as (1,) or one value for each channel (C,); None where it is anything else."""
    try:
        values = np.atleast_1d(np.asarray((layer.neuron or {}).get(name), dtype=np.float64))
    except (TypeError, ValueError):
        return None
    is_whole = bool(np.isfinite(values).all()) and np.array_equal(values, np.trunc(values))
    n_channels = 1 if layer.weight is None else len(layer.weight)
    return values.astype(np.int64) if is_whole and values.ndim == 1 and len(values) in (1, n_channels) else None
