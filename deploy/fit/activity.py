"""What a network does on real samples: spikes, synaptic operations and the states' range, layer by layer."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sqdr.coding import encode_images
from sqdr.deploy.encoders.integer import IntegerEncoder
from sqdr.deploy.fit.connectivity import Connectivity
from sqdr.specification import CodingSpec

__all__ = ["LayerActivity", "measure_activity"]

# A trace keeps every state of every step: u and v in 8 bytes each, and who spikes in one.
TRACE_BYTES = 8 + 8 + 1
MAX_TRACE_BYTES = 64 << 20

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class LayerActivity:
    """One layer on N samples.

    Args:
        name: of the layer.
        n_neurons: of the layer.
        input_spikes: (N,) spikes that came in, each counted once however many synapses it has.
        synaptic_operations: (N,) pairs of a spike and a synapse that it reaches.
        output_spikes: (N,) spikes of its neurons.
        max_state: largest |u| or |v| after any step.
    """

    name: str
    n_neurons: int
    input_spikes: NDArray[np.int64]
    synaptic_operations: NDArray[np.int64]
    output_spikes: NDArray[np.int64]
    max_state: int


def measure_activity(
    encoder: IntegerEncoder, images: NDArray[np.uint8], coding: CodingSpec, progress: Progress | None = None
) -> list[LayerActivity]:
    """Return what every layer does on the images.

    Args:
        encoder: the exact integer network.
        images: (N, C, H, W) uint8; at least one.
        coding: of the model.
        progress: told (done, all).
    """
    connectivity = [Connectivity(layer) for layer in encoder.layers]
    n_images = len(images)
    counted = np.zeros((3, len(connectivity), n_images), np.int64)
    largest = [0] * len(connectivity)
    per_image = TRACE_BYTES * coding.n_steps * sum(each.n_neurons for each in connectivity)
    piece = max(1, MAX_TRACE_BYTES // per_image)
    for start in range(0, n_images, piece):
        spikes = encode_images(images[start : start + piece], coding)
        part = slice(start, start + len(spikes))
        # a spike with a payload is one message, whatever it carries
        came_in = np.count_nonzero(spikes, axis=-1).reshape(len(spikes), -1)
        for index, trace in enumerate(encoder.trace(spikes)):
            assert trace.spikes is not None  # the integer network sees its own spikes
            fired = trace.spikes.sum(axis=-1, dtype=np.int64).reshape(len(spikes), -1)
            counted[0, index, part] = came_in.sum(axis=1)
            counted[1, index, part] = came_in @ connectivity[index].fan_out
            counted[2, index, part] = fired.sum(axis=1)
            states = (abs(trace.current).max(initial=0), abs(trace.voltage).max(initial=0))
            largest[index] = max(largest[index], *(int(state) for state in states))
            came_in = fired
        if progress is not None:
            progress(part.stop, n_images)
    return [
        LayerActivity(
            name=layer.name,
            n_neurons=connected.n_neurons,
            input_spikes=counted[0, index],
            synaptic_operations=counted[1, index],
            output_spikes=counted[2, index],
            max_state=largest[index],
        )
        for index, (layer, connected) in enumerate(zip(encoder.layers, connectivity, strict=True))
    ]
