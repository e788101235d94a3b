"""The whole encoder as one differentiable function in C, layer by layer: see `layer.c`.

Between layers nothing is copied, and nothing but spikes and voltages is written: no weighted spikes, no graph.
"""

import ctypes
from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

from sqdr.train.encoder.cuba.compiled import library
from sqdr.train.encoder.cuba.path import OutOfRange
from sqdr.train.encoder.cuba.plan import Layer, Plan

__all__ = ["FusedEncoder", "fused_encoder"]

# LINE of layer.c: samples are computed in tiles of so many, the last one padded.
LINE = 16
# At this level four channels' spikes are the bytes of one: see layer_vnni.h.
QUADS_LEVEL, QUAD = 3, 4
OUT_OF_RANGE, NO_MEMORY = 1, 2


class FusedEncoder:
    """Computes an encoder of SLAYER blocks in which the C path has a part in every layer.

    Args:
        blocks: conv and dense ones in order, accelerated, without Flatten.
        input_shape: (C, H, W).
        kernels: what `compiled.library` returned.

    Attributes:
        vectors: what may be used: 3 is AVX-512 with VNNI, 2 AVX-512, 1 AVX2, 0 what any processor has; it is less where
            there is less, or where a layer is not what VNNI is for (a surrogate too wide, say).
    """

    def __init__(self, blocks: Sequence[Any], input_shape: tuple[int, ...], kernels: ctypes.CDLL) -> None:
        self._blocks = list(blocks)
        self.kernels = kernels
        self.vectors: int = kernels.sqdr_vectors()
        self._plans: list[Plan] = []
        shape = input_shape
        for block in self._blocks:
            self._plans.append(Plan.of(block.synapse, shape))
            shape = self._plans[-1].out_shape
        self._input_shape = torch.Size(input_shape)
        self.out_shape = self._plans[-1].out_shape
        sizes = [prod(plan.in_shape) for plan in self._plans] + [prod(self.out_shape)]
        # of one step of one sample: the values of input and layers, and of the layers alone
        self.n_values, self.largest = (sum(sizes), sum(sizes[1:])), max(sizes)
        self._made: Any = None
        self._made_for: tuple[Any, ...] = ()
        self.buffers, self.scratch = _Buffers(), _Buffers()

    def can(self, spikes: Tensor) -> bool:
        """Return whether ``spikes`` and the blocks are what this computes; else the blocks must do."""
        return (
            spikes.dtype == torch.float32
            and spikes.device.type == "cpu"
            and spikes.shape[1:-1] == self._input_shape
            and spikes.numel() > 0
            and not any(_is_own(block) for block in self._blocks)
        )

    def __call__(self, spikes: Tensor) -> Tensor:
        """Return output spikes (N, F, T) for coded images (N, C, H, W, T).

        Raises:
            OutOfRange: a state is too large.
        """
        weights = [_weight(block.synapse) for block in self._blocks]
        layers = self._layers(spikes.shape[-1])
        if torch.is_grad_enabled() and any(x.requires_grad for x in (spikes, *weights)):
            out: Tensor = _Encode.apply(spikes, self, layers, *weights)  # type: ignore[no-untyped-call]
            return out
        return self.encode(spikes, layers, weights, has_gradient=False)[0]

    def layer_spikes(self, spikes: Tensor) -> list[Tensor]:
        """Return the output spikes of every layer, first to last, without gradients.

        Raises:
            OutOfRange: a state is too large.
        """
        n_samples, n_steps = len(spikes), spikes.shape[-1]
        weights = [_weight(block.synapse) for block in self._blocks]
        layers = self._layers(n_steps)
        _, lease, _ = self.encode(spikes, layers, weights, has_gradient=False)
        has_quads = self.kernels.sqdr_level(layers, len(layers), self.vectors) == QUADS_LEVEL
        trains, start = [], prod(self._input_shape) * n_steps * LINE
        sizes = [(plan.out_shape[0], prod(plan.out_shape[1:]) * n_steps) for plan in self._plans]
        kept = [(-(-channels // QUAD) if has_quads else channels) * rest * LINE for channels, rest in sizes]
        n_tiles, size = -(-n_samples // LINE), start + sum(kept)
        tiles = lease.buffer[: n_tiles * size].reshape(n_tiles, size)
        for plan, (channels, rest), size in zip(self._plans, sizes, kept, strict=True):
            train = tiles[:, start : start + size]
            if has_quads:
                quads = train.contiguous().view(torch.uint8).reshape(n_tiles, -1, rest, LINE, QUAD)
                train = quads.movedim(-1, 2).flatten(1, 2)[:, :channels].float()
            train = train.reshape(-1, channels, rest, LINE).movedim(-1, 1)
            trains.append(train.reshape(-1, *plan.out_shape, n_steps)[:n_samples].clone())  # the buffer is used again
            start += size
        return trains

    def _n_spikes(self, n_samples: int, n_steps: int) -> int:
        return self.n_values[0] * n_steps * LINE * -(-n_samples // LINE)

    def encode(
        self, spikes: Tensor, layers: Any, weights: Sequence[Tensor], *, has_gradient: bool
    ) -> tuple[Tensor, "_Lease", int | None]:
        """Return the last layer's spikes, the memory with those of all, and where the voltages in it begin.

        Raises:
            OutOfRange: a state is too large.
        """
        n_samples, n_steps = len(spikes), spikes.shape[-1]
        spikes = spikes.detach().contiguous()
        kept = [weight.detach().contiguous() for weight in weights]
        for layer, weight in zip(layers, kept, strict=True):
            layer.weight = weight.data_ptr()
        n_spikes = self._n_spikes(n_samples, n_steps)
        n_states = n_spikes // self.n_values[0] * self.n_values[1] if has_gradient else 0
        lease = self.buffers.take(n_spikes + n_states)
        out = torch.empty(n_samples, *self.out_shape, n_steps)
        first = lease.buffer.data_ptr()
        voltages = first + n_spikes * out.element_size() if has_gradient else None
        arguments = (layers, len(layers), spikes.data_ptr(), n_samples, first, voltages, out.data_ptr())
        result = self.kernels.sqdr_encode(*arguments, self.vectors)
        if result == OUT_OF_RANGE:
            raise OutOfRange
        _check(result)
        return out, lease, voltages

    def _layers(self, n_steps: int) -> Any:
        """Return an array of `Layer` of the caller's own."""
        key = (n_steps, *(_values(block.neuron) for block in self._blocks))
        if key != self._made_for:
            pairs = zip(self._plans, self._blocks, strict=True)
            made = (Layer * len(self._plans))(*(plan.layer(block.neuron, n_steps) for plan, block in pairs))
            self._made, self._made_for = made, key
        return type(self._made).from_buffer_copy(self._made)


class _Buffers:
    """Memory that is used again: the kernel clears fresh memory, which takes as long as the computation."""

    MOST = 2  # one batch's is still held by its graph while the next one's is computed

    def __init__(self) -> None:
        self.free: list[Tensor] = []

    def take(self, size: int) -> "_Lease":
        """Return ``size`` floats or more, until the lease is dropped."""
        buffer = self.free.pop() if self.free else torch.empty(0)
        return _Lease(self, buffer if size <= len(buffer) else torch.empty(size))


class _Lease:
    def __init__(self, owner: _Buffers, buffer: Tensor) -> None:
        self._owner, self.buffer = owner, buffer

    def __del__(self) -> None:
        if len(self._owner.free) < _Buffers.MOST:
            self._owner.free.append(self.buffer)


def fused_encoder(blocks: Sequence[Any], input_shape: tuple[int, ...]) -> FusedEncoder | None:
    """Return what computes accelerated conv and dense blocks at once, or None where the C kernels are missing."""
    kernels = library()
    return None if kernels is None else FusedEncoder(blocks, input_shape, kernels)


def _is_own(block: Any) -> bool:
    """Return whether a block has hooks, decays that ask for gradients or weights of its own making.

    Only its own forward minds them.
    """
    synapse, neuron = block.synapse, block.neuron
    return bool(
        neuron.current_decay.requires_grad
        or neuron.voltage_decay.requires_grad
        or block._forward_pre_hooks
        or neuron._forward_pre_hooks
        or any(
            module._forward_hooks or module._backward_hooks or module._backward_pre_hooks
            for module in (block, synapse, neuron)
        )
        or synapse._pre_hook_fx != neuron.quantize_8bit
    )


def _values(neuron: Any) -> tuple[float, ...]:
    """Return what `NeuronConstants` and the weights are made of."""
    decays = (neuron.current_decay.item(), neuron.voltage_decay.item())
    scales = (neuron.s_scale, neuron.w_scale, neuron.tau_rho, neuron.scale_rho)
    return (*decays, *scales, neuron.threshold, neuron.threshold_eps)


def _weight(synapse: Any) -> Tensor:
    for hook in synapse._forward_pre_hooks.values():  # weight normalisation, which sets the weight
        hook(synapse, ())
    return synapse.weight  # type: ignore[no-any-return]


class _Encode(torch.autograd.Function):
    """All layers; (tiles, C, H * W, T, LINE) in memory, see layer.c."""

    @staticmethod
    def forward(ctx: Any, spikes: Tensor, encoder: FusedEncoder, layers: Any, *weights: Tensor) -> Tensor:
        kept = [weight.contiguous() for weight in weights]
        out, ctx.lease, ctx.voltages = encoder.encode(spikes, layers, kept, has_gradient=True)
        ctx.encoder, ctx.layers, ctx.shape = encoder, layers, spikes.shape
        ctx.save_for_backward(*kept)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        encoder: FusedEncoder = ctx.encoder
        grad = grad.contiguous()
        of_weights = [torch.empty_like(weight) for weight in ctx.saved_tensors]
        for layer, weight, of_weight in zip(ctx.layers, ctx.saved_tensors, of_weights, strict=True):
            layer.weight, layer.of_weight = weight.data_ptr(), of_weight.data_ptr()
        largest = encoder.largest * ctx.shape[-1]
        lease = encoder.scratch.take(2 * largest * LINE)
        of_spikes = torch.empty(ctx.shape) if ctx.needs_input_grad[0] else None
        result = encoder.kernels.sqdr_encode_gradient(
            ctx.layers,
            len(ctx.layers),
            grad.data_ptr(),
            len(grad),
            ctx.lease.buffer.data_ptr(),
            ctx.voltages,
            lease.buffer.data_ptr(),
            largest,
            None if of_spikes is None else of_spikes.data_ptr(),
            encoder.vectors,
        )
        _check(result)
        return of_spikes, None, None, *of_weights


def _check(result: int) -> None:
    if result == NO_MEMORY:
        raise MemoryError("no memory for the encoder")
