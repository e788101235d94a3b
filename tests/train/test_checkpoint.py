import random
from pathlib import Path

import pytest
import torch

from sqdr.errors import DataError
from sqdr.train.checkpoint import load_checkpoint, save_checkpoint

TREE = {
    "epoch": 3,
    "state": {0: {"step": torch.tensor(5.0), "exp_avg": torch.randn(3, 2)}, "x": None},
    "list": [1.5, "text", True, (1, (2, torch.arange(4)))],
    "shared": [torch.ones(2)] * 2,
}


def equal(a, b) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b, strict=True))
    return type(a) is type(b) and a == b


def test_round_trip_keeps_types_keys_and_bits(tmp_path: Path) -> None:
    save_checkpoint(TREE, tmp_path / "c.safetensors")
    assert equal(load_checkpoint(tmp_path / "c.safetensors"), TREE)


def test_object_that_would_need_pickling_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="plain values, got object"):
        save_checkpoint({"x": object()}, tmp_path / "c.safetensors")
    assert not list(tmp_path.iterdir())


def test_pickled_checkpoint_is_not_unpickled(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "exploded",))

    torch.save({"state_dict": Bomb()}, tmp_path / "c.safetensors")
    with pytest.raises(DataError, match="cannot be read or is damaged"):
        load_checkpoint(tmp_path / "c.safetensors")
    assert not (tmp_path / "exploded").exists()


def test_truncated_or_altered_header_is_an_error_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    save_checkpoint(TREE, path)
    whole = path.read_bytes()
    for n_bytes in range(0, len(whole), 37):
        path.write_bytes(whole[:n_bytes])
        with pytest.raises(DataError, match="cannot be read or is damaged"):
            load_checkpoint(path)
    draw = random.Random(0)
    n_refused = 0
    for _ in range(200):
        damaged = bytearray(whole)
        damaged[draw.randrange(200)] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        try:
            load_checkpoint(path)  # a flipped bit may still spell a valid tree
        except DataError:
            n_refused += 1
    assert n_refused > 100
