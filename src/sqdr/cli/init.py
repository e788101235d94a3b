"""``sqdr init``."""

from pathlib import Path
from typing import Annotated

import typer

from sqdr.cli.completion import data_names, preset_names
from sqdr.cli.console import JsonOption, OverwriteOption, emit_json, output
from sqdr.errors import StorageError

__all__ = ["init"]


def init(
    data: Annotated[
        str,
        typer.Option(help="A data set, or <data set>:<its folder> such as folder:photos.", autocompletion=data_names),
    ] = "digits",
    preset: Annotated[
        str,
        typer.Option(
            help="Of the encoder: tiny, small or base; digits_tiny, digits_small or digits_base for images of 8x8.",
            autocompletion=preset_names,
        ),
    ] = "small",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The file to write. Default: <data set>_<preset>.yaml.")
    ] = None,
    overwrite: OverwriteOption = False,
    json_output: JsonOption = False,
) -> None:
    """Write a training configuration with a comment above every key, ready for `sqdr train --config`.

    Example: sqdr init --data digits --preset small --out my.yaml

    Example: sqdr init --data folder:photos --preset tiny
    """
    from sqdr.storage import write_atomically
    from sqdr.train.commented_config import commented_yaml, starting_config

    name, _, folder = data.partition(":")
    config = starting_config(name, preset, Path(folder) if folder else None)
    path = out or Path(f"{name}_{preset.removeprefix(f'{name}_')}.yaml")
    if not overwrite and (path.exists() or path.is_symlink()):
        raise StorageError(f"{path} exists already. Choose another --out, or add --overwrite.")
    if path.is_dir():
        raise StorageError(f"{path} is a folder. Choose another --out.")
    title = f"Training configuration of sqdr: data set {name}, preset {preset}; for `sqdr train --config`."
    write_atomically(path, commented_yaml(config, title).encode())
    if json_output:
        emit_json({"config": str(path), "data": name, "preset": config.encoder.preset})
        return
    output().print(f"{path}: train with `sqdr train --config {path}`", markup=False, highlight=False)
