"""Subject ``gpu``: the joint training step on a GPU, and how much of its bandwidth and of the launches it uses."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from sqdr.cli.bench.harness import BenchRow, time_in_turn
from sqdr.cli.bench.joint import PRESETS, joint_model, model_spec, training_step
from sqdr.cli.bench.spiking_peer import SPIKINGJELLY, spikingjelly_encoder
from sqdr.errors import DeviceError, MissingDependencyError

__all__ = ["GpuUse", "bench_gpu", "bytes_of_operations", "gpu_name"]

SUBJECT = "gpu"
BATCHES = (64, 1024)
STOCK = "stock SLAYER"
# Steps in a row of one timing, whose end alone waits for the GPU.
N_IN_A_ROW = 20
COPY_BYTES = 1 << 28
N_LAUNCHES = 10_000
# That the two kernels of our own, which torch does not see, read or write of each layer's neurons and steps.
TRITON_ARRAYS = 6


@dataclass(frozen=True, kw_only=True)
class GpuUse:
    """What one training step does with the GPU.

    Args:
        network: preset and batch.
        step_ms: median wall time of a step.
        n_kernels: that a step launches, copies among them, by torch's profiler.
        busy_ms: sum of their times.
        launch_us: measured time of an empty kernel's launch, many in a row.
        n_bytes: that the step's operations read and write, each counted whole, caches ignored.
        copy_gb_s: bandwidth of a copy of 256 MiB on the same GPU, read and write counted.
    """

    network: str
    step_ms: float
    n_kernels: int
    busy_ms: float
    launch_us: float
    n_bytes: int
    copy_gb_s: float

    def as_dict(self) -> dict[str, Any]:
        """Return all figures for JSON."""
        names = ("bandwidth_fraction", "launch_fraction", "busy_fraction")
        return asdict(self) | {name: round(getattr(self, name), 4) for name in names}

    @property
    def bandwidth_fraction(self) -> float:
        """Of the copy's bandwidth that the step reaches."""
        return self.n_bytes / (self.step_ms * 1e-3) / (self.copy_gb_s * 1e9)

    @property
    def launch_fraction(self) -> float:
        """Of the step's time that its launches alone take."""
        return self.n_kernels * self.launch_us * 1e-3 / self.step_ms

    @property
    def busy_fraction(self) -> float:
        """Of the step's time in which a kernel runs."""
        return self.busy_ms / self.step_ms


def gpu_name() -> str:
    """Return what the GPU is called.

    Raises:
        DeviceError: torch sees none.
    """
    import torch

    if not torch.cuda.is_available():
        raise DeviceError("torch sees no CUDA device, so there is nothing to measure. See `sqdr doctor`.")
    return torch.cuda.get_device_name()


def bench_gpu(
    repeats: int, skipped: list[str], progress: Callable[[int, int], None]
) -> tuple[list[BenchRow], list[GpuUse]]:
    """Return rows for presets and batches against stock SLAYER and SpikingJelly on the GPU, and what ours uses of it.

    Before the timing, ours must give the spikes that stock SLAYER gives on the CPU. The circuit is ours on every side.

    Args:
        repeats: of each timing, of 20 steps each.
        skipped: gets a line for each peer that is not installed or does not run.
        progress: called with (networks done, of all).
    """
    rows: list[BenchRow] = []
    uses: list[GpuUse] = []
    places = [(preset, batch) for preset in PRESETS for batch in BATCHES]
    copy_gb_s, launch_us = _copy_gb_s(), _launch_us()
    for index, (preset, batch) in enumerate(places):
        found, use = _rows(preset, batch, repeats, skipped, copy_gb_s, launch_us)
        rows += found
        uses.append(use)
        progress(index + 1, len(places))
    return rows, uses


def _rows(
    preset: str, batch: int, repeats: int, skipped: list[str], copy_gb_s: float, launch_us: float
) -> tuple[list[BenchRow], GpuUse]:
    import torch

    from sqdr.train.encoder.slayer import SlayerEncoder, cuda_problem

    model, spikes, labels = joint_model(model_spec(preset), batch)
    stock = SlayerEncoder(model.spec.encoder)
    stock.load_state_dict(model.encoder.state_dict())
    with torch.no_grad():
        expected = torch.cat([train.flatten() for train in stock.layer_spikes(spikes)])
    model.to("cuda")
    spikes, labels = spikes.cuda(), labels.cuda()
    with torch.no_grad():
        found = torch.cat([train.flatten() for train in model.encoder.layer_spikes(spikes)]).cpu()
    compared = (expected.numel(), int((found != expected).sum()))

    step = training_step(model.encoder, model.head, spikes, labels)
    calls = {"sqdr": step}
    problem = cuda_problem()
    if problem is None:
        calls[STOCK] = training_step(stock.to("cuda"), model.head, spikes, labels)
    elif (line := f"{STOCK} on the GPU: {problem}") not in skipped:
        skipped.append(line)
    try:
        peer = spikingjelly_encoder(model.spec.encoder).to("cuda")
        calls[SPIKINGJELLY] = training_step(peer, model.head, spikes.movedim(-1, 0).contiguous(), labels, time_axis=0)
    except MissingDependencyError as error:
        if str(error) not in skipped:
            skipped.append(str(error))
    times = time_in_turn({name: (_in_a_row(call), N_IN_A_ROW) for name, call in calls.items()}, repeats)
    network = f"{preset}, 28x28, T={model.spec.coding.n_steps}, batch {batch}"
    n_kernels, busy_ms = _kernels(step)
    with bytes_of_operations() as count:
        step()
    use = GpuUse(
        network=network,
        step_ms=times["sqdr"].median,
        n_kernels=n_kernels,
        busy_ms=busy_ms,
        launch_us=launch_us,
        n_bytes=count() + TRITON_ARRAYS * expected.numel() * expected.element_size(),
        copy_gb_s=copy_gb_s,
    )
    # SpikingJelly has other neurons: nothing to compare
    checked = {STOCK: compared, SPIKINGJELLY: (0, 0)}
    return [
        BenchRow.of(SUBJECT, network, ("sqdr", times["sqdr"]), (name, times[name]), *checked[name])
        for name in calls
        if name != "sqdr"
    ], use


def _in_a_row(call: Callable[[], None]) -> Callable[[], None]:
    import torch

    def run() -> None:
        for _ in range(N_IN_A_ROW):
            call()
        torch.cuda.synchronize()

    return run


def _copy_gb_s() -> float:
    """The fastest of some copies within the GPU's memory."""
    import torch

    source = torch.zeros(COPY_BYTES, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    cuda: Any = torch.cuda  # whose functions are not all typed
    best_ms = math.inf
    for _ in range(20):
        start, end = (cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        target.copy_(source)
        end.record()
        end.synchronize()
        best_ms = min(best_ms, start.elapsed_time(end))
    return 2 * COPY_BYTES / (best_ms * 1e-3) / 1e9


def _launch_us() -> float:
    """The time of a launch of torch's kernel that sleeps, here for no cycles; the best of some rounds."""
    import torch

    cuda: Any = torch.cuda
    best_s = math.inf
    for _ in range(5):
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(N_LAUNCHES):
            cuda._sleep(0)
        torch.cuda.synchronize()
        best_s = min(best_s, time.perf_counter() - start)
    return 1e6 * best_s / N_LAUNCHES


def _kernels(step: Callable[[], None]) -> tuple[int, float]:
    """How many kernels a step runs, and for how many milliseconds."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        step()
        torch.cuda.synchronize()
    events = [event for event in profiler.events() if event.device_type == torch._C._autograd.DeviceType.CUDA]
    return len(events), sum(event.time_range.elapsed_us() for event in events) / 1000


@contextmanager
def bytes_of_operations() -> Iterator[Callable[[], int]]:
    """Count the bytes of the tensors that torch's operations take and return; views and allocations move none."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    n_bytes = 0

    def of(values: Any) -> int:
        return sum(leaf.numel() * leaf.element_size() for leaf in tree_leaves(values) if isinstance(leaf, torch.Tensor))

    class Count(TorchDispatchMode):  # type: ignore[misc,unused-ignore]
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            nonlocal n_bytes
            result = func(*args, **(kwargs or {}))
            if not func.is_view and not func.__name__.startswith("empty"):
                n_bytes += of((args, kwargs, result))
            return result

    with Count():  # type: ignore[no-untyped-call]
        yield lambda: n_bytes
