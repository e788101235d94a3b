"""Checkpoints as safetensors: tensors in binary, everything else as JSON. Nothing is ever unpickled."""

import json
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.checkpoint_io import CheckpointIO
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from sqdr.errors import DataError
from sqdr.storage import write_atomically

__all__ = ["SafetensorsCheckpoints", "load_checkpoint", "save_checkpoint"]

TREE = "tree"
TENSOR = "__tensor__"
PAIRS = "__pairs__"
TUPLE = "__tuple__"


def save_checkpoint(tree: Any, path: Path) -> None:
    """Write a tree of dicts, lists, tuples, tensors and plain values.

    Raises:
        StorageError: the file cannot be written; an earlier one is left as it was.
    """
    tensors: dict[str, Tensor] = {}
    text = json.dumps(_pack(tree, tensors))
    write_atomically(path, save(tensors, metadata={TREE: text}))


def load_checkpoint(path: Path) -> Any:
    """Read what `save_checkpoint` wrote.

    Raises:
        DataError: missing, truncated or not such a file.
    """
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            text = (file.metadata() or {})[TREE]
            tensors = {key: file.get_tensor(key) for key in file.keys()}
            return _unpack(json.loads(text), tensors)
    except (OSError, SafetensorError, KeyError, ValueError, RecursionError) as error:
        raise DataError(f"checkpoint {path} cannot be read or is damaged. Train again.") from error


def _pack(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        key = str(len(tensors))
        # a copy: safetensors refuses tensors that share memory
        tensors[key] = value.detach().cpu().contiguous().clone()
        return {TENSOR: key}
    if isinstance(value, dict):
        return {PAIRS: [[_pack(k, tensors), _pack(v, tensors)] for k, v in value.items()]}
    if isinstance(value, tuple):
        return {TUPLE: [_pack(item, tensors) for item in value]}
    if isinstance(value, list):
        return [_pack(item, tensors) for item in value]
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"a checkpoint holds tensors and plain values, got {type(value).__name__}")


def _unpack(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_unpack(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    if TENSOR in value:
        return tensors[value[TENSOR]]
    if TUPLE in value:
        return tuple(_unpack(item, tensors) for item in value[TUPLE])
    return {_unpack(k, tensors): _unpack(v, tensors) for k, v in value[PAIRS]}


class SafetensorsCheckpoints(CheckpointIO):  # type: ignore[misc]
    """Lets Lightning save and resume through `save_checkpoint` and `load_checkpoint`."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write Lightning's state."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        save_checkpoint(checkpoint, Path(path))

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Read Lightning's state."""
        state = load_checkpoint(Path(path))
        if map_location is not None and isinstance(map_location, str | torch.device):
            return _moved(state, map_location)  # type: ignore[no-any-return]
        return state  # type: ignore[no-any-return]

    def remove_checkpoint(self, path: Any) -> None:
        """Delete a checkpoint that a better one replaced."""
        Path(path).unlink(missing_ok=True)


def _moved(value: Any, device: str | torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {key: _moved(item, device) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_moved(item, device) for item in value)
    return value
