"""Validation samples: what was written is what is read, and nothing that does not fit the model gets in."""

import io
import random
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sqdr.errors import BundleError
from sqdr.specification import ModelSpec
from sqdr.validation_samples import MAX_VALIDATION_BYTES, MAX_VALIDATION_SAMPLES, ValidationSamples

SPEC = ModelSpec.model_validate(
    {
        "coding": {"n_steps": 256},
        "encoder": {
            "input_shape": [1, 4, 4],
            "layers": [{"kind": "conv", "out_channels": 2}, {"kind": "dense", "out_features": 3}],
        },
        "head": {"n_qubits": 3, "n_classes": 2},
    }
)


def samples(n: int = 5) -> ValidationSamples:
    draw = np.random.default_rng(0)
    # up to T = 256, which 8 bits do not hold
    counts = draw.integers(0, 257, (n, 3))
    counts[0] = 256
    return ValidationSamples(counts=counts, labels=draw.integers(0, 2, n))


def saved(path: Path, **arrays: Any) -> Path:
    np.savez(path, **({name: value.astype(np.uint16) for name, value in vars(samples()).items()} | arrays))
    return path


def refused(path: Path, message: str = "is not a readable set of validation samples. Export again") -> None:
    with pytest.raises(BundleError, match=f"{path.name} {message}") as caught:
        ValidationSamples.load(path, SPEC)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("n", [1, 5, MAX_VALIDATION_SAMPLES])
def test_samples_read_back_exactly_and_are_small(tmp_path: Path, n: int) -> None:
    samples(n).save(tmp_path / "validation.npz")
    loaded = ValidationSamples.load(tmp_path / "validation.npz", SPEC)
    assert len(loaded) == n
    for name, value in vars(samples(n)).items():
        assert vars(loaded)[name].dtype == np.int64
        assert (vars(loaded)[name] == value).all()
    assert (tmp_path / "validation.npz").stat().st_size < 1000 + 8 * n


def test_samples_are_the_same_bytes_every_time(tmp_path: Path) -> None:
    for name in ("a.npz", "b.npz"):
        samples().save(tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_samples_are_never_unpickled(tmp_path: Path) -> None:
    ran = tmp_path / "ran"

    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (ran,)

    refused(saved(tmp_path / "validation.npz", labels=np.array([Payload()] * 5, dtype=object)))
    assert not ran.exists()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"counts": np.zeros((5, 4), np.uint16)},
            r"must hold 1 to 1000 samples of 3 counts .* got \(5, 4\) and \(5,\)",
        ),
        ({"counts": np.zeros((4, 3), np.uint16)}, "must hold 1 to 1000 samples"),
        ({"counts": np.zeros(15, np.uint16)}, "must hold 1 to 1000 samples"),
        ({"labels": np.zeros((5, 1), np.uint16)}, "must hold 1 to 1000 samples"),
        ({"counts": np.zeros((0, 3), np.uint16), "labels": np.zeros(0, np.uint16)}, "must hold 1 to 1000 samples"),
        (
            {"counts": np.zeros((1001, 3), np.uint16), "labels": np.zeros(1001, np.uint16)},
            "must hold 1 to 1000 samples",
        ),
        ({"counts": np.full((5, 3), 257, np.uint16)}, "must hold counts up to 256 .* got 257"),
        ({"labels": np.full(5, 2, np.uint16)}, "must hold counts up to 256 and labels below 2, got 256 and 2"),
    ],
)
def test_samples_of_another_model_are_refused(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    refused(saved(tmp_path / "validation.npz", **arrays), message)


@pytest.mark.parametrize(
    "arrays",
    [
        {"counts": np.zeros((5, 3), np.uint8)},
        {"counts": np.zeros((5, 3), np.int64)},
        {"labels": np.zeros(5, ">u2")},
        {"images": np.zeros(5, np.uint16)},
    ],
)
def test_arrays_of_another_type_or_name_are_refused(tmp_path: Path, arrays: dict[str, Any]) -> None:
    refused(saved(tmp_path / "validation.npz", **arrays))


def test_file_that_is_absent_compressed_or_too_large_is_refused(tmp_path: Path) -> None:
    refused(tmp_path / "missing.npz")
    np.savez_compressed(tmp_path / "small.npz", **{k: v.astype(np.uint16) for k, v in vars(samples()).items()})
    refused(tmp_path / "small.npz")
    with saved(tmp_path / "large.npz").open("ab") as file:
        file.truncate(MAX_VALIDATION_BYTES + 1)
    refused(tmp_path / "large.npz")


def test_array_that_claims_more_than_it_has_is_refused(tmp_path: Path) -> None:
    header = b"{'descr': '<u2', 'fortran_order': False, 'shape': (999999999,), }\n"
    member = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(10)
    buffer = io.BytesIO()
    np.save(buffer, samples().counts.astype(np.uint16))
    with zipfile.ZipFile(tmp_path / "validation.npz", "w") as archive:
        archive.writestr("counts.npy", buffer.getvalue())
        archive.writestr("labels.npy", member)
    refused(tmp_path / "validation.npz")


def test_damaged_file_is_refused_or_reads_the_same(tmp_path: Path) -> None:
    data, draw, n_refused = saved(tmp_path / "validation.npz").read_bytes(), random.Random(3), 0
    path = tmp_path / "damaged.npz"
    for _ in range(200):
        damaged = bytearray(data)
        damaged[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        try:
            loaded = ValidationSamples.load(path, SPEC)
        except BundleError:
            n_refused += 1
        else:
            assert all((vars(loaded)[name] == value).all() for name, value in vars(samples()).items())
    assert n_refused > 100
