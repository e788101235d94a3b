"""Who is connected to whom in one layer, counted from its sizes and never written out synapse by synapse.

A synapse is a pair of an input and a neuron whose weight exists, zeros included: padding has none.
"""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sqdr.deploy.encoders.integer.network import IntegerLayer

__all__ = ["Connectivity"]


class Connectivity:
    """The connections of one layer.

    Inputs and neurons are numbered as they lie in (C, H, W).

    Args:
        layer: conv or dense.
    """

    def __init__(self, layer: IntegerLayer) -> None:
        self.layer = layer
        self.n_inputs = int(np.prod(layer.in_shape))
        self.n_neurons = int(np.prod(layer.shape))

    @cached_property
    def fan_out(self) -> NDArray[np.int64]:
        """Synapses of each input, (n_inputs,)."""
        layer = self.layer
        if not layer.is_conv:
            return np.full(self.n_inputs, self.n_neurons, np.int64)
        rows, columns = (self._taps(axis).sum(axis=0) for axis in (0, 1))
        per_place = np.outer(rows, columns) * (layer.shape[0] // layer.groups)
        return np.broadcast_to(per_place, layer.in_shape).reshape(-1).astype(np.int64)

    @cached_property
    def fan_in(self) -> NDArray[np.int64]:
        """Synapses of each neuron, (n_neurons,)."""
        layer = self.layer
        if not layer.is_conv:
            return np.full(self.n_neurons, self.n_inputs, np.int64)
        rows, columns = (self._taps(axis).sum(axis=1) for axis in (0, 1))
        per_place = np.outer(rows, columns) * (layer.in_shape[0] // layer.groups)
        return np.broadcast_to(per_place, layer.shape).reshape(-1).astype(np.int64)

    @property
    def n_synapses(self) -> int:
        """All synapses, each by itself: a convolution unrolled."""
        return int(self.fan_in.sum())

    @property
    def n_weights(self) -> int:
        """Weights, a convolution's kernel once."""
        return int(self.layer.weight.size)

    def n_weights_of(self, start: int, stop: int) -> int:
        """Return the weights that neurons ``start`` to ``stop`` use between them, shared ones once."""
        layer = self.layer
        per_row = self.n_weights // len(layer.weight)
        size = self.n_neurons // len(layer.weight)
        return per_row * ((stop - 1) // size - start // size + 1)

    def sources(self, start: int, stop: int) -> NDArray[np.bool_]:
        """Return which inputs reach any of the neurons ``start`` to ``stop``, (n_inputs,)."""
        layer = self.layer
        if not layer.is_conv:
            return np.ones(self.n_inputs, np.bool_)
        found = np.zeros(layer.in_shape, np.bool_)
        per_group = layer.shape[0] // layer.groups
        n_in = layer.in_shape[0] // layer.groups
        size = layer.shape[1] * layer.shape[2]
        for group in range(start // (size * per_group), (stop - 1) // (size * per_group) + 1):
            places = np.zeros((per_group, size), np.bool_)
            low = group * per_group * size
            places.reshape(-1)[max(start - low, 0) : stop - low] = True
            reached = places.any(axis=0).reshape(layer.shape[1:])
            found[group * n_in : (group + 1) * n_in] = self._reach(reached)
        return found.reshape(-1)

    def _reach(self, places: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """(H_out, W_out) -> (H_in, W_in): the inputs under the kernel at any of the places."""
        # products of non-negative numbers: float32, which BLAS multiplies, cannot turn a positive one into 0
        rows, columns = (self._taps(axis).astype(np.float32) for axis in (0, 1))
        return np.asarray((rows.T @ places.astype(np.float32) @ columns) > 0)

    def _taps(self, axis: int) -> NDArray[np.int64]:
        """(n_out, n_in) of 1 where the kernel at an output covers an input, along one axis; 0 elsewhere."""
        layer = self.layer
        n_in, n_out = layer.in_shape[1 + axis], layer.shape[1 + axis]
        taps = np.zeros((n_out, n_in), np.int64)
        first = np.arange(n_out) * layer.stride[axis] - layer.padding[axis]
        for k in range(layer.weight.shape[2 + axis]):
            at = first + k * layer.dilation[axis]
            inside = (at >= 0) & (at < n_in)
            taps[np.flatnonzero(inside), at[inside]] = 1
        return taps
