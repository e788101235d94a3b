"""``sqdr train``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sqdr.cli.completion import config_names, hardware_names
from sqdr.cli.console import DataRootOption, JsonOption, OverwriteOption, emit_json, output, table_of, wants_progress
from sqdr.errors import ConfigError

if TYPE_CHECKING:
    from sqdr.train.run_folder import RunSummary

__all__ = ["train"]


def train(
    config: Annotated[
        str | None,
        typer.Option(
            "--config", "-c", help="A YAML file, or a packaged name such as digits_small.", autocompletion=config_names
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The run folder to make.")] = None,
    resume: Annotated[Path | None, typer.Option("--resume", help="Continue this unfinished run instead.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of weights and batch order.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training part.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or auto.")] = None,
    devices: Annotated[
        int | None, typer.Option(help="How many share every batch: GPUs, or processes with --device cpu.")
    ] = None,
    noise: Annotated[
        str | None,
        typer.Option(
            help="A hardware file whose noise the circuit has in training and in the accuracies, such as local_dm.",
            autocompletion=hardware_names,
        ),
    ] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads.")] = None,
    data_root: DataRootOption = None,
    overwrite: OverwriteOption = False,
    json_output: JsonOption = False,
) -> None:
    """Train encoder and circuit jointly.

    Example: sqdr train --config digits_small --out runs/digits

    Example: sqdr train --config digits_small --noise local_dm --out runs/noisy
    """
    from sqdr.train.api import train as train_model
    from sqdr.train.loop import resume_training

    progress = wants_progress(json_output)
    if resume is not None:
        if overwrite or any(option is not None for option in (config, out, seed, device, noise, threads, data_root)):
            raise ConfigError(
                "`--resume` continues a run as it was configured, but for --devices. Leave the others away."
            )
        path, summary = resume, resume_training(resume, n_epochs=epochs, n_devices=devices, progress=progress)
    else:
        if config is None:
            raise ConfigError("`--config` must name a YAML file or a packaged configuration. Try digits_small.")
        trained = train_model(
            config,
            out,
            overwrite=overwrite,
            progress=progress,
            data_root=data_root,
            seed=seed,
            n_epochs=epochs,
            device=device,
            n_devices=devices,
            n_threads=threads,
            noise=noise,
        )
        path, summary = trained.path, trained.summary
    if json_output:
        emit_json({"run": str(path)} | summary.model_dump(mode="json"))
        return
    output().print(
        table_of(
            str(path),
            [
                ("test accuracy", f"{summary.test_accuracy:.4f}"),
                ("validation accuracy", f"{summary.val_accuracy:.4f}"),
                ("training accuracy", f"{summary.train_accuracy:.4f}"),
                *([] if summary.noise is None else [("under the noise of", summary.noise)]),
                ("best epoch", f"{summary.best_epoch} of {summary.n_epochs}"),
                ("parameters", f"{summary.n_parameters:,}"),
                *([("files left out", f"{len(summary.left_out):,}, see summary.json")] if summary.left_out else []),
                ("seconds", f"{summary.seconds:.1f} on {_places(summary)}"),
            ],
        )
    )


def _places(summary: "RunSummary") -> str:
    return summary.device if summary.n_devices == 1 else f"{summary.n_devices} x {summary.device}"
