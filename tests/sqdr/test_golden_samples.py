"""Golden samples: what was written is what is read, and no header is believed before it is checked."""

import io
import random
import struct
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sqdr.errors import BundleError
from sqdr.golden_samples import MAX_GOLDEN_BYTES, Golden
from sqdr.specification import ModelSpec

SPEC = ModelSpec.model_validate(
    {
        "encoder": {
            "input_shape": [1, 4, 4],
            "layers": [{"kind": "conv", "out_channels": 2}, {"kind": "dense", "out_features": 3}],
        },
        "head": {"n_qubits": 3, "n_classes": 2},
    }
)


def golden() -> Golden:
    generator = np.random.default_rng(0)
    trains = generator.integers(0, 2, (4, 3, 8), dtype=np.uint8)
    return Golden(
        images=generator.integers(0, 256, (4, 1, 4, 4), dtype=np.uint8),
        spike_trains=trains,
        counts=trains.sum(axis=2, dtype=np.int64),
        expectations=generator.uniform(-1, 1, (4, 3)),
        logits=generator.normal(size=(4, 2)),
    )


def test_golden_reads_back_exactly(tmp_path: Path) -> None:
    golden().save(tmp_path / "golden.npz")
    loaded = Golden.load(tmp_path / "golden.npz", SPEC)
    for name, value in vars(golden()).items():
        assert vars(loaded)[name].dtype == value.dtype
        assert (vars(loaded)[name] == value).all()


def test_golden_never_unpickles(tmp_path: Path) -> None:
    path = tmp_path / "golden.npz"
    ran = tmp_path / "ran"

    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (ran,)

    np.savez(path, **(vars(golden()) | {"logits": np.array([Payload()], dtype=object)}))
    with pytest.raises(BundleError, match="golden.npz is not a readable set"):
        Golden.load(path)
    assert not ran.exists()


def test_golden_refuses_a_missing_array_and_another_kind_of_file(tmp_path: Path) -> None:
    arrays = vars(golden())
    np.savez(tmp_path / "less.npz", **{name: arrays[name] for name in arrays if name != "counts"})
    np.save(tmp_path / "one.npy", arrays["counts"])
    for name in ("less.npz", "one.npy", "missing.npz"):
        with pytest.raises(BundleError, match=f"{name} is not a readable set of golden samples"):
            Golden.load(tmp_path / name)


def test_golden_refuses_a_damaged_file_or_reads_the_same(tmp_path: Path) -> None:
    golden().save(tmp_path / "golden.npz")
    data, generator, n_refused = (tmp_path / "golden.npz").read_bytes(), random.Random(3), 0
    path = tmp_path / "damaged.npz"
    for _ in range(200):
        damaged = bytearray(data)
        damaged[generator.randrange(len(data))] ^= 1 << generator.randrange(8)
        path.write_bytes(damaged)
        try:
            loaded = Golden.load(path)
        except BundleError:
            n_refused += 1
        else:
            assert all((vars(loaded)[name] == value).all() for name, value in vars(golden()).items())
    assert n_refused > 100


def refused(path: Path, message: str = "is not a readable set of golden samples. Export again") -> None:
    with pytest.raises(BundleError, match=f"{path.name} {message}") as caught:
        Golden.load(path, SPEC)
    assert len(str(caught.value).splitlines()) == 1


def saved(path: Path, **changes: Any) -> Path:
    Golden(**(vars(golden()) | changes)).save(path)
    return path


def with_member(path: Path, member: bytes, method: int = zipfile.ZIP_STORED) -> Path:
    """A set whose images are the bytes of a npy file."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, value in vars(golden()).items():
            buffer = io.BytesIO()
            np.save(buffer, value)
            archive.writestr(f"{name}.npy", member if name == "images" else buffer.getvalue())
    return path


def npy(header: str, version: int = 1, n_header: int | None = None, data: bytes = bytes(64)) -> bytes:
    text = header.encode("latin1")
    size = struct.pack("<H" if version == 1 else "<I", len(text) if n_header is None else n_header)
    return b"\x93NUMPY" + bytes([version, 0]) + size + text + data


GOOD = "{'descr': '|u1', 'fortran_order': False, 'shape': (4, 1, 4, 4), }\n"


def test_arrays_in_another_order_of_memory_read_back(tmp_path: Path) -> None:
    images = np.asfortranarray(golden().images[:, :, ::-1].copy())
    loaded = Golden.load(saved(tmp_path / "golden.npz", images=images), SPEC)
    assert (loaded.images == images).all()


def test_member_written_by_hand_reads_back(tmp_path: Path) -> None:
    loaded = Golden.load(with_member(tmp_path / "golden.npz", npy(GOOD, data=bytes(range(64)))), SPEC)
    assert loaded.images.reshape(-1).tolist() == list(range(64))


@pytest.mark.parametrize(
    "member",
    [
        b"",
        b"\x93NUMPY\x01\x00",
        npy(GOOD, version=2),
        npy(GOOD, version=9),
        npy(GOOD, n_header=65535),
        npy(GOOD, n_header=0),
        npy(GOOD, data=bytes(63)),
        npy(GOOD, data=bytes(65)),
        npy(GOOD.replace("4, 1, 4, 4", "1099511627776,"), data=b""),
        npy(GOOD.replace("4, 1, 4, 4", "999999999, 999999999, 999999999, 999999999")),
        npy(GOOD.replace("4, 1, 4, 4", "-64,")),
        npy(GOOD.replace("4, 1, 4, 4", "4L, 1, 4, 4")),
        npy(GOOD.replace("4, 1, 4, 4", "4, 1, 4, 4, 1, 1")),
        npy(GOOD.replace("4, 1, 4, 4", "__import__('os').mkdir('made'),")),
        npy(GOOD.replace("|u1", "|O")),
        npy(GOOD.replace("|u1", "|i1")),
        npy(GOOD.replace("'|u1'", "[('a', '|u1')]")),
        npy(GOOD.replace("False", "None")),
        npy("(" * 1000),
        npy(GOOD[:-1] + " " * 2000 + "\n"),
    ],
    ids=lambda value: ascii(value[8:60]),
)
def test_headers_that_are_not_what_is_stored_are_refused(tmp_path: Path, member: bytes) -> None:
    refused(with_member(tmp_path / "golden.npz", member))


def test_compressed_arrays_are_refused(tmp_path: Path) -> None:
    # a bomb: 64 MiB in 64 kB
    member = npy(GOOD.replace("4, 1, 4, 4", f"{64 << 20}, 1, 1, 1"), data=bytes(64 << 20))
    path = with_member(tmp_path / "golden.npz", member, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 1 << 20
    tracemalloc.start()
    try:
        refused(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20


def test_arrays_that_claim_more_than_the_file_are_refused(tmp_path: Path) -> None:
    n_header = len(npy(GOOD, data=b""))
    path = with_member(tmp_path / "golden.npz", npy(GOOD.replace("(4,", "(99999999,")))
    data = bytearray(path.read_bytes())
    # APPNOTE 4.3.12: both sizes of a central directory record are at offset 20
    n_bytes = 99_999_999 * 16 + n_header + len("99999999") - len("4")
    struct.pack_into("<II", data, data.index(b"PK\x01\x02") + 20, n_bytes, n_bytes)
    path.write_bytes(data)
    tracemalloc.start()
    try:
        refused(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20


def test_larger_files_are_refused(tmp_path: Path) -> None:
    with saved(tmp_path / "golden.npz").open("ab") as file:
        file.truncate(MAX_GOLDEN_BYTES + 1)
    refused(tmp_path / "golden.npz")


@pytest.mark.parametrize("name", ["images", "extra", "../images"])
@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_more_arrays_are_refused(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(saved(tmp_path / "golden.npz"), "a") as archive:
        archive.writestr(f"{name}.npy", npy(GOOD))
    refused(tmp_path / "golden.npz")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": np.zeros((4, 1, 4, 5), np.uint8)}, r"must hold samples of shapes .* got .*\(4, 1, 4, 5\)"),
        ({"images": np.zeros((3, 1, 4, 4), np.uint8)}, "must hold samples of shapes"),
        ({"spike_trains": np.zeros((4, 3, 9), np.uint8)}, "must hold samples of shapes"),
        ({"counts": np.zeros(4, np.int64)}, "must hold samples of shapes"),
        ({"expectations": np.zeros((4, 2))}, "must hold samples of shapes"),
        ({"logits": np.zeros((4, 3))}, "must hold samples of shapes"),
        ({"logits": np.full((4, 2), np.nan)}, "holds values that are not finite"),
        ({"expectations": np.full((4, 3), np.inf)}, "holds values that are not finite"),
        ({"spike_trains": np.full((4, 3, 8), 2, np.uint8)}, "holds spikes that are not 0 or 1"),
        ({name: value[:0] for name, value in vars(golden()).items()}, "must hold samples of shapes"),
    ],
)
def test_samples_of_another_model_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    refused(saved(tmp_path / "golden.npz", **changes), message)


@pytest.mark.parametrize(
    "changes",
    [{"counts": np.zeros((4, 3), np.int32)}, {"images": np.zeros((4, 1, 4, 4))}, {"logits": np.zeros((4, 2), ">f8")}],
)
def test_arrays_of_another_type_are_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    refused(saved(tmp_path / "golden.npz", **changes))
