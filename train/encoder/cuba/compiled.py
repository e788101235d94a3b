"""The path in C: `neuron.c` and `synapse.c`, called through ctypes, so that no build is tied to torch's."""

import ctypes
import functools
import importlib.util
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sqdr.train.encoder.cuba.path import Convolution, NeuronConstants, OutOfRange

__all__ = ["CompiledPath", "library", "load"]

MODULE = "sqdr.train.encoder.cuba._kernel"
# The library's own number, see neuron.c: an older build in place is left alone.
INTERFACE_VERSION = 3

POINTER, INT32, INT64, FLOAT = ctypes.c_void_p, ctypes.c_int32, ctypes.c_int64, ctypes.c_float
SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "sqdr_neuron": (INT32, [POINTER] * 2 + [INT64] * 2 + [FLOAT, INT32, INT32, FLOAT]),
    "sqdr_neuron_gradient": (None, [POINTER] * 3 + [INT64] * 2 + [FLOAT] * 5),
    "sqdr_convolve": (INT32, [POINTER] * 4),
    "sqdr_input_gradient": (INT32, [POINTER] * 4),
    "sqdr_weight_gradient": (INT32, [POINTER] * 4),
    "sqdr_reverse": (None, [POINTER] * 2 + [INT64] * 3),
    "sqdr_encode": (INT32, [POINTER, INT64, POINTER, INT64] + [POINTER] * 3 + [INT32]),
    "sqdr_encode_gradient": (INT32, [POINTER, INT64, POINTER, INT64] + [POINTER] * 3 + [INT64, POINTER, INT32]),
    "sqdr_vectors": (INT32, []),
    "sqdr_level": (INT32, [POINTER, INT64, INT32]),
}


@functools.cache
def library() -> ctypes.CDLL | None:
    """Return the compiled kernels, or None where the install had no compiler or they are of another version."""
    spec = importlib.util.find_spec(MODULE)
    return None if spec is None or spec.origin is None else load(spec.origin)


def load(path: str) -> ctypes.CDLL | None:
    """Return the kernels in a shared library, or None if it holds none or those of another version."""
    try:
        found = ctypes.CDLL(path)
        if found.sqdr_version() != INTERFACE_VERSION:
            return None
        for name, (result, arguments) in SIGNATURES.items():
            function = getattr(found, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError):
        return None
    return found


class CompiledPath:
    """A `CubaPath` for CPUs; (T, C, H, W, N) in memory, so that samples fill the lanes of vector registers.

    Args:
        kernels: what `library` returned.
    """

    name = "c"

    def __init__(self, kernels: ctypes.CDLL) -> None:
        self.kernels = kernels

    def major(self, x: Tensor) -> Tensor:
        """(N, ..., T) -> (T, ..., N)."""
        turned = x.transpose(0, -1)
        if turned.is_contiguous() or not x.is_contiguous():
            return turned.contiguous()
        out = torch.empty(turned.shape)
        self.kernels.sqdr_reverse(x.data_ptr(), out.data_ptr(), x.shape[0], x[0, ..., 0].numel(), x.shape[-1])
        return out

    def logical(self, major: Tensor) -> Tensor:
        """(T, ..., N) -> (N, ..., T)."""
        return major.transpose(0, -1)

    def weigh(self, spikes: Tensor, weight: Tensor, convolution: Convolution) -> Tensor:
        """See `CubaPath`."""
        weighed: Tensor = _Weigh.apply(spikes, weight, convolution, self)  # type: ignore[no-untyped-call]
        return weighed

    def fire(self, inputs: Tensor, constants: NeuronConstants, *, is_spent: bool = False) -> tuple[Tensor, Tensor]:
        """See `CubaPath`."""
        voltage = inputs.detach() if is_spent else inputs.clone()  # the kernel works in place
        spikes = torch.empty_like(inputs)
        is_out_of_range = self.kernels.sqdr_neuron(
            voltage.data_ptr(),
            spikes.data_ptr(),
            inputs[0].numel(),
            len(inputs),
            constants.scale,
            constants.current_decay,
            constants.voltage_decay,
            constants.threshold * constants.scale,
        )
        if is_out_of_range:
            raise OutOfRange
        return spikes, voltage

    def gradient(self, grad: Tensor, voltage: Tensor, constants: NeuronConstants) -> Tensor:
        """See `CubaPath`."""
        out = torch.empty_like(grad)
        self.kernels.sqdr_neuron_gradient(
            grad.data_ptr(),
            voltage.data_ptr(),
            out.data_ptr(),
            grad[0].numel(),
            len(grad),
            constants.kept_current,
            constants.kept_voltage,
            constants.threshold,
            constants.tau,
            constants.height,
        )
        return out


class _Weigh(torch.autograd.Function):
    """A convolution of all steps of all samples."""

    @staticmethod
    def forward(ctx: Any, spikes: Tensor, weight: Tensor, convolution: Convolution, path: CompiledPath) -> Tensor:
        x, weight = path.major(spikes), weight.contiguous()
        shape = _shape(x, weight, convolution)
        out = torch.empty(x.shape[0], weight.shape[0], *shape.out_size, x.shape[-1])
        _call(path.kernels.sqdr_convolve, x, weight, out, shape)
        ctx.path, ctx.shape = path, shape
        ctx.save_for_backward(x, weight)
        return path.logical(out)

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, weight = ctx.saved_tensors
        path: CompiledPath = ctx.path
        grad = path.major(grad)
        of_spikes, of_weight = None, None
        if ctx.needs_input_grad[0]:
            of_x = torch.empty_like(x)
            _call(path.kernels.sqdr_input_gradient, grad, weight, of_x, ctx.shape)
            of_spikes = path.logical(of_x)
        if ctx.needs_input_grad[1]:
            of_weight = torch.empty_like(weight)
            _call(path.kernels.sqdr_weight_gradient, grad, x, of_weight, ctx.shape)
        return of_spikes, of_weight, None, None


class _Shape:
    """The sizes of one convolution, as synapse.c reads them."""

    def __init__(self, sizes: Sequence[int], out_size: tuple[int, int]) -> None:
        self.sizes = (INT64 * len(sizes))(*sizes)
        self.out_size = out_size


def _shape(x: Tensor, weight: Tensor, convolution: Convolution) -> _Shape:
    n_steps, channels, *size, n = x.shape
    kernel = weight.shape[2:]
    places = zip(size, kernel, convolution.stride, convolution.padding, convolution.dilation, strict=True)
    height, width = (
        (s + 2 * padding - dilation * (k - 1) - 1) // stride + 1 for s, k, stride, padding, dilation in places
    )
    sizes = (n_steps, n, channels, weight.shape[0], convolution.groups, *size, height, width, *kernel)
    rest = (*convolution.stride, *convolution.padding, *convolution.dilation)
    return _Shape((*sizes, *rest), (height, width))


def _call(function: Any, first: Tensor, second: Tensor, out: Tensor, shape: _Shape) -> None:
    if function(first.data_ptr(), second.data_ptr(), out.data_ptr(), shape.sizes):
        raise MemoryError("no memory for a convolution")
