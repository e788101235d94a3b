"""The path for GPUs: neurons in Triton, which compiles them when they first run and needs no nvcc.

Not yet run on a GPU: none was at hand. Its kernels are tested in Triton's interpreter. The convolutions are
cuDNN's: where it chooses one that transforms its input (Winograd, FFT), sums of weights may round, as in
SLAYER's own convolutions.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from sqdr.train.encoder.cuba.eager import merged_convolution
from sqdr.train.encoder.cuba.path import Convolution, NeuronConstants

__all__ = ["TritonPath", "first_run"]

# neurons of one program
BLOCK = 256
# Kernels bear no types: Triton reads annotations as its own.


class TritonPath:
    """A `CubaPath` for GPUs; (T, N, C, H, W) in memory. States are 64-bit integers, as SLAYER's on a CPU."""

    name = "triton"

    def major(self, x: Tensor) -> Tensor:
        """(N, ..., T) -> (T, N, ...)."""
        return x.movedim(-1, 0).contiguous()

    def logical(self, major: Tensor) -> Tensor:
        """(T, N, ...) -> (N, ..., T)."""
        return major.movedim(0, -1)

    def weigh(self, spikes: Tensor, weight: Tensor, convolution: Convolution) -> Tensor:
        """See `CubaPath`."""
        return merged_convolution(spikes, weight, convolution)

    def fire(self, inputs: Tensor, constants: NeuronConstants, *, is_spent: bool = False) -> tuple[Tensor, Tensor]:
        """See `CubaPath`."""
        spikes, voltage = torch.empty_like(inputs), torch.empty_like(inputs)
        threshold = constants.threshold * constants.scale
        decays = (torch.round(constants.current_decays), torch.round(constants.voltage_decays))
        sizes = (inputs[0].numel(), len(inputs))
        with torch.cuda.device_of(inputs):  # type: ignore[no-untyped-call]
            _fire[_grid(inputs)](inputs, voltage, spikes, *decays, *sizes, constants.scale, threshold, BLOCK=BLOCK)
        return spikes, voltage

    def gradient(self, grad: Tensor, voltage: Tensor, constants: NeuronConstants) -> Tensor:
        """See `CubaPath`."""
        out = torch.empty_like(grad)
        decays = (torch.round(constants.current_decays), torch.round(constants.voltage_decays))
        sizes = (grad[0].numel(), len(grad), grad[0].numel() * (len(grad) - 1))
        surrogate = (constants.threshold, constants.tau, constants.height)
        with torch.cuda.device_of(grad):  # type: ignore[no-untyped-call]
            _gradient[_grid(grad)](grad, voltage, out, *decays, *sizes, *surrogate, BLOCK=BLOCK)
        return out


def first_run() -> None:
    """Compile and run the neurons on the current GPU once; what is in the way is raised, of any kind."""
    one = torch.ones(1, device="cuda")
    constants = NeuronConstants(
        scale=4096, current_decays=4096 * one, voltage_decays=410 * one, threshold=0.5, tau=1.0, height=1.0
    )
    spikes, voltage = TritonPath().fire(one[None], constants)
    TritonPath().gradient(spikes, voltage, constants)
    torch.cuda.synchronize()


def _grid(major: Tensor) -> tuple[int]:
    return (triton.cdiv(major[0].numel(), BLOCK),)


@triton.jit
def _decayed(state, keep):  # type: ignore[no-untyped-def]
    """trunc(state * keep / 4096)."""
    return tl.where(state < 0, -((-state * keep) >> 12), (state * keep) >> 12)


@triton.jit
def _keep(decays):  # type: ignore[no-untyped-def]
    """What a decay of 4096 leaves."""
    return 4096 - tl.load(decays).to(tl.int64)


@triton.jit  # type: ignore[untyped-decorator]
def _fire(  # type: ignore[no-untyped-def]
    values,
    voltage,
    spikes,
    current_decays,
    voltage_decays,
    n,
    n_steps,
    scale,
    threshold,
    BLOCK: tl.constexpr,
):
    """All steps of BLOCK neurons: arrays (n_steps, n)."""
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    is_inside = place < n
    keep_current, keep_voltage = _keep(current_decays), _keep(voltage_decays)
    current = tl.zeros([BLOCK], dtype=tl.int64)
    state = tl.zeros([BLOCK], dtype=tl.int64)
    at = place
    for _ in range(n_steps):
        x = tl.load(values + at, mask=is_inside, other=0.0)
        current = _decayed(current, keep_current) + (x * scale).to(tl.int64)
        # SLAYER hands the current on as float32, which rounds above 2^24
        v = _decayed(state, keep_voltage) + current.to(tl.float32).to(tl.int64)
        # v > threshold, where SLAYER's CUDA kernel also resets at equality
        is_spike = v.to(tl.float32) >= threshold
        tl.store(voltage + at, v.to(tl.float32) / scale, mask=is_inside)
        tl.store(spikes + at, is_spike.to(tl.float32), mask=is_inside)
        state = tl.where(is_spike, 0, v)
        at += n


@triton.jit  # type: ignore[untyped-decorator]
def _gradient(  # type: ignore[no-untyped-def]
    grad,
    voltage,
    out,
    current_decays,
    voltage_decays,
    n,
    n_steps,
    last,
    threshold,
    tau,
    height,
    BLOCK: tl.constexpr,
):
    """The steps backward, see `sqdr.train.encoder.cuba.fire`."""
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    is_inside = place < n
    kept_current = _keep(current_decays).to(tl.float32) / 4096
    kept_voltage = _keep(voltage_decays).to(tl.float32) / 4096
    of_current = tl.zeros([BLOCK], dtype=tl.float32)
    of_voltage = tl.zeros([BLOCK], dtype=tl.float32)
    at = last + place
    for _ in range(n_steps):
        v = tl.load(voltage + at, mask=is_inside, other=0.0)
        g = tl.load(grad + at, mask=is_inside, other=0.0)
        surrogate = height * tl.exp(-tl.abs(v - threshold) / tau)
        of_voltage = surrogate * g + kept_voltage * of_voltage
        of_current = of_voltage + kept_current * of_current
        tl.store(out + at, of_current, mask=is_inside)
        at -= n
