"""SLAYER as a deployment backend: the bundle's own network file, run by lava-dl's blocks."""

from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sqdr.backends import LayerTrace
from sqdr.bundle import Bundle
from sqdr.coding import check_spikes
from sqdr.errors import BundleError
from sqdr.golden_check import check_golden_spikes
from sqdr.netx import NetxLayer, read_network
from sqdr.specification import EncoderSpec
from sqdr.train.encoder.slayer import SlayerEncoder

__all__ = ["SlayerBackend"]

BATCH = 256
# SLAYER holds weights and thresholds as multiples of 1/64, decays as multiples of 1/4096.
WEIGHT_SCALE = 64


class SlayerBackend:
    """An `EncoderBackend` whose weights come from ``encoder.net``, not from the training run.

    Args:
        net_path: the netx file.
        spec: of the encoder that the file holds.
        n_steps: T.
        max_payload: largest value of one input spike.

    Attributes:
        encoder: the torch module.

    Raises:
        BundleError: the file's layers are not the specification's.
    """

    name = "slayer"

    def __init__(self, net_path: Path, spec: EncoderSpec, n_steps: int, max_payload: int = 1) -> None:
        plain = spec.model_copy(update={"is_weight_normalised": False})
        self.encoder = SlayerEncoder(plain, max_payload).eval()
        self._spec = spec
        self._n_steps = n_steps
        self._max_payload = max_payload
        network = read_network(net_path)
        places = [index for index, layer in enumerate(network) if layer.kind != "flatten"]
        self._names = [f"layer {index} ({network[index].kind})" for index in places]
        blocks = list(self.encoder.layers())
        if len(places) != len(blocks):
            raise BundleError(f"{net_path.name} has {len(places)} layers, the manifest {len(blocks)}. Export again.")
        for block, index in zip(blocks, places, strict=True):
            _load(block, network[index], net_path.name)

    @classmethod
    def from_bundle(cls, bundle: Bundle, *, check_golden: bool = True) -> "SlayerBackend":
        """Return the backend of an opened bundle, once it reproduces the golden samples.

        Args:
            bundle: an opened bundle.
            check_golden: refuse to serve where a golden spike differs.

        Raises:
            BundleError: the file's layers are not the specification's.
            NotEqualError: a golden spike differs.
        """
        model = bundle.manifest.model
        backend = cls(bundle.path_of("encoder.net"), model.encoder, model.coding.n_steps, model.coding.max_payload)
        if check_golden:
            check_golden_spikes(backend, bundle)
        return backend

    def encode(self, spikes: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Return spike counts (N, F) for coded images (N, C, H, W, T)."""
        counts: NDArray[np.int64] = self.spike_trains(spikes).sum(axis=-1, dtype=np.int64)
        return counts

    def spike_trains(self, spikes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return output spikes (N, F, T)."""
        self._check(spikes)
        parts = []
        with torch.no_grad():
            for start in range(0, len(spikes), BATCH):
                batch = torch.from_numpy(spikes[start : start + BATCH].astype(np.float32))
                parts.append(self.encoder(batch).to(torch.uint8).numpy())
        if not parts:
            return np.zeros((0, self._spec.n_features, self._n_steps), dtype=np.uint8)
        return np.concatenate(parts)

    def trace(self, spikes: NDArray[np.uint8]) -> list[LayerTrace]:
        """Return every layer's states and spikes for coded images (N, C, H, W, T)."""
        self._check(spikes)
        traces: list[LayerTrace] = []
        with torch.no_grad():
            x = torch.from_numpy(spikes.astype(np.float32))
            for block in self.encoder.blocks:
                if not hasattr(block, "neuron"):
                    x = block(x)
                    continue
                neuron = block.neuron
                current, voltage = neuron.dynamics(block.synapse(x))
                x = neuron.spike(voltage)
                # SLAYER's states are the hardware's over s_scale, its voltage the one before the reset
                states = [torch.round(state.double() * neuron.s_scale).long() for state in (current, voltage * (1 - x))]
                traces.append(
                    LayerTrace(
                        name=self._names[len(traces)],
                        current=states[0].numpy(),
                        voltage=states[1].numpy(),
                        spikes=x.to(torch.uint8).numpy(),
                    )
                )
        return traces

    def _check(self, spikes: NDArray[np.uint8]) -> None:
        bits = self._max_payload.bit_length() if self._max_payload > 1 else 0
        check_spikes(spikes, self._spec.input_shape, self._n_steps, bits)

    def close(self) -> None:
        """Nothing to release."""

    def __enter__(self) -> "SlayerBackend":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _load(block: Any, layer: NetxLayer, source: str) -> None:
    """Put a file layer's integers into a SLAYER block; every one must survive unchanged."""
    weight = block.synapse.weight
    if layer.weight is None or layer.neuron is None or layer.weight.size != weight.numel():
        raise BundleError(f"{source}: a {layer.kind} layer does not fit the manifest's model. Export again.")
    if layer.bias is not None or layer.delay is not None:
        raise BundleError(f"{source}: a {layer.kind} layer has a bias or delays, which this model has not.")
    values = torch.from_numpy(layer.weight / WEIGHT_SCALE).float().reshape(weight.shape)
    with torch.no_grad():
        weight.copy_(values)
        block.neuron.current_decay.fill_(_number(layer, "iDecay", source))
        block.neuron.voltage_decay.fill_(_number(layer, "vDecay", source))
    if not torch.equal(block.synapse.pre_hook_fx(weight), values):
        raise BundleError(f"{source}: a weight of a {layer.kind} layer is no 8-bit value of SLAYER's. Export again.")
    if block.neuron.v_th_mant != _number(layer, "vThMant", source):
        raise BundleError(f"{source}: the threshold of a {layer.kind} layer is not the manifest's. Export again.")


def _number(layer: NetxLayer, name: str, source: str) -> float:
    """Return a neuron parameter that all channels share, which is all that a specification has."""
    value = np.asarray((layer.neuron or {}).get(name))
    if value.size != 1 or value.dtype.kind not in "iuf":
        raise BundleError(f"{source}: {name} of a {layer.kind} layer is not one number. Export again.")
    return float(value.reshape(()))
