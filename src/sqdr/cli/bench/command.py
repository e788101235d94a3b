"""The command group."""

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from sqdr.cli.bench.harness import machine, one_core
from sqdr.cli.bench.outcome import finish
from sqdr.cli.console import JsonOption, output, progress_bar, wants_progress
from sqdr.cli.verbosity import Commands

__all__ = ["app"]

RepeatsOption = Annotated[int, typer.Option(help="Of each timing, after one warm-up.", min=1)]
OutOption = Annotated[Path | None, typer.Option("--out", "-o", help="A JSON file for the rows.")]


class Growing(str, Enum):
    """What `sqdr bench growth` measures."""

    HEAD = "head"
    ENCODER = "encoder"
    JOINT = "joint"


app = Commands(no_args_is_help=True, help="Measure sqdr beside real peers: ratios in one run, on one core.")


@app.callback()
def root() -> None:
    """Measure sqdr beside real peers: ratios in one run, on one core."""


@app.command()
def encoder(
    bundle: Annotated[
        Path | None, typer.Argument(help="Whose encoder. Default: the presets tiny, small and base at 28x28.")
    ] = None,
    images: Annotated[int, typer.Option(help="For the integer encoder and SLAYER.", min=1)] = 256,
    repeats: RepeatsOption = 5,
    out: OutOption = None,
    json_output: JsonOption = False,
) -> None:
    """The integer encoder against SLAYER's forward pass and stock netx in Lava, milliseconds per image.

    Example: sqdr bench encoder out/demo/bundle
    """
    skipped: list[str] = []
    with one_core(), progress_bar("measuring", wants_progress(json_output)) as progress:
        from sqdr.cli.bench.encoder import bench_encoder

        rows = bench_encoder(bundle, images, repeats, skipped, progress)
    finish(rows, skipped, {"n_images": images, "repeats": repeats}, out, json_output)


@app.command()
def lava(
    bundle: Annotated[
        Path | None, typer.Argument(help="Whose encoder. Default: the presets tiny, small and base at 28x28.")
    ] = None,
    images: Annotated[int, typer.Option(help="For the batched graph; the others get 16.", min=1)] = 256,
    repeats: RepeatsOption = 5,
    out: OutOption = None,
    json_output: JsonOption = False,
) -> None:
    """Lava's graphs fast and batched against stock netx, milliseconds per image without the start.

    Example: sqdr bench lava out/demo/bundle
    """
    with one_core(), progress_bar("measuring", wants_progress(json_output)) as progress:
        from sqdr.cli.bench.lava import bench_lava

        rows = bench_lava(bundle, images, repeats, progress)
    finish(rows, [], {"n_images": images, "repeats": repeats}, out, json_output)


@app.command()
def training(
    repeats: RepeatsOption = 21,
    out: OutOption = None,
    json_output: JsonOption = False,
) -> None:
    """A training step with sqdr's CUBA layers against stock SLAYER and SpikingJelly, milliseconds per step.

    Example: sqdr bench training
    """
    skipped: list[str] = []
    with one_core(), progress_bar("measuring", wants_progress(json_output)) as progress:
        from sqdr.cli.bench.training import bench_training

        rows = bench_training(repeats, skipped, progress)
    finish(rows, skipped, {"repeats": repeats}, out, json_output)


@app.command()
def joint(
    repeats: RepeatsOption = 5,
    out: OutOption = None,
    json_output: JsonOption = False,
) -> None:
    """A joint training step against SpikingJelly with other simulators: processor milliseconds per step.

    Example: sqdr bench joint
    """
    skipped: list[str] = []
    with one_core(), progress_bar("measuring", wants_progress(json_output)) as progress:
        from sqdr.cli.bench.joint import NOT_COMPARED, bench_joint

        rows = bench_joint(repeats, skipped, progress)
    options = {"repeats": repeats, "clock": "processor time", "not_compared": NOT_COMPARED}
    finish(rows, skipped, options, out, json_output)


@app.command()
def split(
    bundle: Annotated[Path, typer.Argument(help="A bundle folder or .sqdr file.")],
    images: Annotated[int, typer.Option(help="For ours; the stock side gets 8.", min=8)] = 256,
    repeats: RepeatsOption = 5,
    out: OutOption = None,
    json_output: JsonOption = False,
) -> None:
    """Split inference, Lava batched and local:sv, against stock netx and braket.local.qubit; milliseconds per image.

    Example: sqdr bench split out/demo/bundle
    """
    with one_core(), progress_bar("measuring", wants_progress(json_output)) as progress:
        from sqdr.cli.bench.split import bench_split

        rows = bench_split(bundle, images, repeats, progress)
    finish(rows, [], {"n_images": images, "repeats": repeats}, out, json_output)


@app.command()
def head(
    batch: Annotated[int, typer.Option(help="Samples of each call.", min=1)] = 64,
    repeats: RepeatsOption = 5,
    out: OutOption = None,
    json_output: JsonOption = False,
) -> None:
    """The circuit, forward and backward, against other simulators: processor milliseconds per sample.

    Example: sqdr bench head --batch 64
    """
    skipped: list[str] = []
    with one_core(), progress_bar("measuring", wants_progress(json_output)) as progress:
        from sqdr.cli.bench.head import CIRCUITS, bench_head

        rows = bench_head(CIRCUITS, batch, repeats, skipped, progress)
    finish(rows, skipped, {"batch": batch, "repeats": repeats, "clock": "processor time"}, out, json_output)


@app.command("noisy-head")
def noisy_head(
    batch: Annotated[int, typer.Option(help="Samples of each call of ours.", min=1)] = 64,
    repeats: RepeatsOption = 5,
    out: OutOption = None,
    json_output: JsonOption = False,
) -> None:
    """The circuit under noise against density matrices: processor milliseconds per sample.

    Example: sqdr bench noisy-head
    """
    skipped: list[str] = []
    with one_core(), progress_bar("measuring", wants_progress(json_output)) as progress:
        from sqdr.cli.bench.noisy_head import bench_noisy_head

        rows = bench_noisy_head(batch, repeats, skipped, progress)
    finish(rows, skipped, {"batch": batch, "repeats": repeats, "clock": "processor time"}, out, json_output)


@app.command()
def growth(
    of: Annotated[Growing, typer.Argument(help="What grows.")] = Growing.HEAD,
    repeats: RepeatsOption = 3,
    out: OutOption = None,
    plot: Annotated[Path | None, typer.Option(help="A PNG file for the curves.")] = None,
    json_output: JsonOption = False,
) -> None:
    """How head, encoder or joint step grow with qubits, blocks, time steps, batch and image size.

    Example: sqdr bench growth joint --plot growth.png
    """
    skipped: list[str] = []
    with one_core(), progress_bar("measuring", wants_progress(json_output)) as progress:
        from sqdr.cli.bench.growth import SWEEPS, bench_growth, draw_growth

        points = bench_growth(SWEEPS[of.value], repeats, skipped, progress)
    if plot is not None:
        draw_growth(points, plot, machine()["cpu"])
    rows = [point.row for point in points]
    finish(rows, skipped, {"of": of.value, "repeats": repeats, "clock": "processor time"}, out, json_output)


@app.command("local-braket")
def local_braket(
    circuits: Annotated[int, typer.Option(help="That ours runs; the peers run 4.", min=4)] = 1000,
    repeats: RepeatsOption = 5,
    out: OutOption = None,
    json_output: JsonOption = False,
) -> None:
    """The local head against `braket.local.qubit` and Braket's simulator: processor milliseconds per circuit.

    Example: sqdr bench local-braket --circuits 1000
    """
    skipped: list[str] = []
    with one_core(), progress_bar("measuring", wants_progress(json_output)) as progress:
        from sqdr.cli.bench.local_braket import bench_local_braket

        rows = bench_local_braket(circuits, repeats, skipped, progress)
    finish(rows, skipped, {"circuits": circuits, "repeats": repeats, "clock": "processor time"}, out, json_output)


@app.command()
def load(
    bundle: Annotated[Path, typer.Argument(help="A bundle with a classifier.onnx.")],
    images: Annotated[int, typer.Option(help="To classify after the first.", min=1)] = 1000,
    repeats: Annotated[int, typer.Option(help="Processes of each side, after one warm-up.", min=1)] = 5,
    out: OutOption = None,
    json_output: JsonOption = False,
) -> None:
    """A fresh process to its first class, and peak memory, against ONNX Runtime on the same model.

    Example: sqdr bench load out/demo/bundle
    """
    with one_core(), progress_bar("measuring", wants_progress(json_output)) as progress:
        from sqdr.cli.bench.load import bench_load

        rows, peak_mb = bench_load(bundle, images, repeats, progress)
    options = {"n_images": images, "repeats": repeats, "clock": "processor time", "peak_mb": peak_mb}
    finish(rows, [], options, out, json_output)
    if not json_output:
        peaks = ", ".join(f"{name} {peak:,.0f} MB" for name, peak in peak_mb.items())
        output().print(f"peak memory: {peaks}", markup=False)


@app.command()
def export(
    repeats: RepeatsOption = 5,
    out: OutOption = None,
    json_output: JsonOption = False,
) -> None:
    """The network file alone, and a verified bundle, against SLAYER's `export_hdf5`; milliseconds per export.

    Example: sqdr bench export --repeats 3
    """
    skipped: list[str] = []
    with one_core(), progress_bar("measuring", wants_progress(json_output)) as progress:
        from sqdr.cli.bench.export import NOT_COMPARED, bench_export

        rows, stages = bench_export(repeats, skipped, progress)
    finish(rows, skipped, {"repeats": repeats, "not_compared": NOT_COMPARED, "stages_ms": stages}, out, json_output)
    if not json_output:
        for preset, times in stages.items():
            text = "; ".join(f"{what} {ms:,.0f}" for what, ms in times.items())
            output().print(f"{preset}, milliseconds of each stage of the bundle: {text}", markup=False)


@app.command()
def gpu(
    repeats: RepeatsOption = 11,
    out: OutOption = None,
    json_output: JsonOption = False,
) -> None:
    """A joint training step on a GPU, milliseconds per step, with the fractions of bandwidth and of launches in it.

    Example: sqdr bench gpu
    """
    skipped: list[str] = []
    with one_core(), progress_bar("measuring", wants_progress(json_output)) as progress:
        from sqdr.cli.bench.gpu import bench_gpu, gpu_name

        name = gpu_name()
        rows, uses = bench_gpu(repeats, skipped, progress)
    options = {"gpu": name, "repeats": repeats, "use": [use.as_dict() for use in uses]}
    finish(rows, skipped, options, out, json_output)
    if not json_output:
        for use in uses:
            output().print(
                f"{use.network} on {name}: {use.bandwidth_fraction:.1%} of the {use.copy_gb_s:,.0f} GB/s that a copy "
                f"reaches; launches take {use.launch_fraction:.1%} of the time, kernels run in {use.busy_fraction:.1%}",
                markup=False,
            )


@app.command()
def memory(
    repeats: Annotated[int, typer.Option(help="Processes of each side.", min=1)] = 3,
    out: OutOption = None,
    json_output: JsonOption = False,
) -> None:
    """Peak memory of a joint training step and of encoding, against stock SLAYER and SpikingJelly.

    A bundle's whole run is in `sqdr bench load`.

    Example: sqdr bench memory
    """
    skipped: list[str] = []
    with one_core(), progress_bar("measuring", wants_progress(json_output)) as progress:
        from sqdr.cli.bench.memory import BATCHES, bench_memory

        rows, found = bench_memory(repeats, skipped, progress)
    options = {"repeats": repeats, "clock": "processor time", "batches": BATCHES, "memory": found}
    finish(rows, skipped, options, out, json_output)
    if not json_output:
        for preset, sides in found.items():
            text = ", ".join(f"{side} {mb['call_mb']:,.0f} of {mb['peak_mb']:,.0f} MB" for side, mb in sides.items())
            output().print(f"{preset}, memory of the calls of the process's peak: {text}", markup=False)


@app.command("start-up")
def startup(
    repeats: RepeatsOption = 11,
    out: OutOption = None,
    json_output: JsonOption = False,
) -> None:
    """Processor milliseconds of `import sqdr` and `sqdr --help`, beside what they may take.

    Example: sqdr bench start-up
    """
    from sqdr.cli.bench.startup import bench_startup

    with one_core(), progress_bar("measuring", wants_progress(json_output)) as progress:
        rows = bench_startup(repeats, progress)
    finish(rows, [], {"repeats": repeats, "clock": "processor time"}, out, json_output)
