"""HDF5 in plain Python: the same as h5py reads, and what is not read is refused by name."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from sqdr.hdf5 import Dataset, Group, open_hdf5

h5py = pytest.importorskip("h5py", reason="needs the train extra")

MANY = 1 << 20


def contents(group: Group) -> dict[str, Any]:
    """Everything in a group, read by sqdr."""
    found = {}
    for name in group.names():
        item = group.get(name)
        found[name] = item.read(MANY) if isinstance(item, Dataset) else contents(item)
    return found


def expected(group: Any) -> dict[str, Any]:
    """The same, read by h5py."""
    return {name: item[()] if hasattr(item, "dtype") else expected(item) for name, item in group.items()}


def assert_equal(found: dict[str, Any], wanted: dict[str, Any]) -> int:
    """Compare both and return how many datasets there were."""
    assert sorted(found) == sorted(wanted)
    n = 0
    for name, value in wanted.items():
        if isinstance(value, dict):
            n += assert_equal(found[name], value)
        elif isinstance(found[name], list):
            assert found[name] == [text if isinstance(text, bytes) else str(text).encode() for text in np.ravel(value)]
            n += 1
        else:
            np.testing.assert_array_equal(found[name], value, strict=True)
            n += 1
    return n


def read_one(path: Path, name: str) -> Any:
    item = open_hdf5(path.read_bytes(), MANY).get(name)
    assert isinstance(item, Dataset)
    return item.read(MANY)


def depth_of(group: Any, name: str) -> int:
    depth = 0
    while isinstance(group, Group):
        group, depth = group.get(name), depth + 1
    return depth


DTYPES = [np.dtype(kind) for kind in ("i1 <i2 <i4 <i8 u1 <u2 <u4 <u8 <f2 <f4 <f8 >i2 >i8 >u4 >f4 >f8 ?".split())]


@given(
    values=st.sampled_from(DTYPES).flatmap(
        lambda kind: arrays.arrays(kind, arrays.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4))
    )
)
def test_numbers_are_those_that_h5py_wrote(tmp_path_factory: pytest.TempPathFactory, values: np.ndarray) -> None:
    path = tmp_path_factory.mktemp("hdf5") / "a.h5"
    with h5py.File(path, "w") as file:
        file["values"] = values
    found = contents(open_hdf5(path.read_bytes(), MANY))["values"]
    np.testing.assert_array_equal(found, values, strict=True)  # the same numbers, NaN included, shape and type


@pytest.mark.parametrize("libver", [None, "latest", ("earliest", "v108"), ("v108", "v108")])
def test_a_file_of_any_version_reads_as_h5py_reads_it(tmp_path: Path, libver: Any) -> None:
    with h5py.File(tmp_path / "a.h5", "w", libver=libver) as file:
        for index in range(7):
            file[f"group/{index}/numbers"] = np.arange(index, dtype=np.float32)
            file[f"group/{index}/text"] = "CUBA"
            file[f"group/{index}/texts"] = np.array([b"a", b"bcd"])
            file[f"group/{index}/deep/er/bool"] = True
            file[f"group/{index}/nothing"] = np.zeros((2, 0))
        file["group"].attrs["note"] = "ignored"
        file["group/3/numbers"].attrs["note"] = np.arange(9)
    with h5py.File(tmp_path / "a.h5", "r") as file:
        n = assert_equal(contents(open_hdf5((tmp_path / "a.h5").read_bytes(), MANY)), expected(file))
    assert n == 7 * 5


def test_a_group_of_many_names_reads_whole(tmp_path: Path) -> None:
    # 1,000 names take a B-tree of two levels
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for index in range(1000):
            file[f"layer/{index}"] = index
    found = contents(open_hdf5((tmp_path / "a.h5").read_bytes(), MANY))["layer"]
    assert {name: int(value) for name, value in found.items()} == {str(index): index for index in range(1000)}


def test_text_comes_back_from_a_heap_with_many(tmp_path: Path) -> None:
    texts = ["", "x", *(f"neuron {index}" * (index % 5) for index in range(60))]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for index, text in enumerate(texts):
            file[str(index)] = text
    found = contents(open_hdf5((tmp_path / "a.h5").read_bytes(), MANY))
    assert [found[str(index)] for index in range(len(texts))] == [[text.encode()] for text in texts]


def make(path: Path, kind: str) -> None:
    with h5py.File(path, "w") as file:
        numbers = np.arange(40.0)
        if kind == "chunks":
            file.create_dataset("x", data=numbers, chunks=(10,))
        elif kind == "gzip":
            file.create_dataset("x", data=numbers, compression="gzip")
        elif kind == "declared":
            file.create_dataset("x", shape=(3,), dtype="f4")
        elif kind == "compound":
            file["x"] = np.zeros(2, dtype=[("a", "i4"), ("b", "f4")])
        elif kind == "complex":
            file["x"] = np.zeros(2, np.complex64)
        elif kind == "sequences":
            file.create_dataset("x", (2,), dtype=h5py.vlen_dtype(np.int32))
        elif kind == "enum":
            file.create_dataset("x", (2,), dtype=h5py.enum_dtype({"A": 0, "B": 1}, basetype="i1"), data=[0, 1])
        elif kind == "reference":
            file["x"] = file.ref
        elif kind == "opaque":
            file["x"] = np.void(b"abc")
        elif kind == "empty":
            file["x"] = h5py.Empty("f4")
        elif kind == "external":
            (path.parent / "other").write_bytes(bytes(320))
            file.create_dataset("x", (40,), "f8", external=[(str(path.parent / "other"), 0, 320)])
        elif kind == "virtual":
            layout = h5py.VirtualLayout(shape=(40,), dtype="f8")
            layout[:] = h5py.VirtualSource(str(path.parent / "source.h5"), "y", shape=(40,))
            file.create_virtual_dataset("x", layout)
        elif kind == "external link":
            file["x"] = h5py.ExternalLink("/etc/passwd", "/y")
        elif kind == "soft link":
            file["x"] = h5py.SoftLink("/")
        elif kind == "named type":
            file["t"] = np.dtype("f8")
            file.create_dataset("x", (2,), dtype=file["t"], data=[0, 1])
        elif kind == "type":
            file["x"] = np.dtype("f8")
        elif kind == "long text":
            file["x"] = "a" * 257
        elif kind == "axes":
            file["x"] = np.zeros((1,) * 9)


UNSUPPORTED = {
    "chunks": "x is in chunks, compressed or virtual; store it plainly",
    "gzip": "x is in chunks, compressed or virtual",
    "virtual": "x is in chunks, compressed or virtual",
    "declared": "x was declared but never written",
    "compound": "x is of type compound of 8 bytes; use numbers and short texts",
    "complex": "x is of type co",  # compound before HDF5 2, complex since
    "sequences": "x is of type variable-length",
    "enum": "x is of type enum",
    "reference": "x is of type reference",
    "opaque": "x is of type opaque",
    "empty": "x holds no values",
    "external": "x is stored in another file",
    "external link": "x is a link|a group of the form of HDF5 1.8",
    "soft link": "x is a link",
    "named type": "x: it shares a description with another object",
    "type": "x: neither a group nor a dataset",
    "long text": "x holds a text of 257 bytes",
    "axes": "x has 9 axes",
}


@pytest.mark.parametrize("kind", UNSUPPORTED)
def test_what_is_not_read_is_named(tmp_path: Path, kind: str) -> None:
    make(tmp_path / "a.h5", kind)
    with pytest.raises(ValueError, match=UNSUPPORTED[kind]):
        read_one(tmp_path / "a.h5", "x")


def test_large_groups_of_the_new_form_are_named(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w", libver="latest") as file:
        for index in range(20):
            file[f"group/{index}"] = index
    with pytest.raises(ValueError, match="group: a group of the form of HDF5 1.8; write it with h5py's default"):
        contents(open_hdf5((tmp_path / "a.h5").read_bytes(), MANY))


def test_limits_hold_for_one_dataset_and_for_all(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = np.zeros(100)
        file["y"] = file["x"]  # a hard link: the same bytes count twice
    root = open_hdf5((tmp_path / "a.h5").read_bytes(), 199)
    x, y = root.get("x"), root.get("y")
    assert isinstance(x, Dataset) and isinstance(y, Dataset)
    with pytest.raises(ValueError, match="x declares 100 values; at most 99 are read"):
        x.read(99)
    assert len(x.read(100)) == 100
    with pytest.raises(ValueError, match="y exceeds 199 values in all"):
        y.read(100)


def test_groups_that_hold_themselves_end(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        group = file.create_group("a")
        group["a"] = group
    with pytest.raises(ValueError, match="more than 100,000 parts"):
        depth_of(open_hdf5((tmp_path / "a.h5").read_bytes(), MANY), "a")


@pytest.mark.parametrize("data", [b"", b"hello", b"\x89HDF\r\n\x1a\n", b"\x89HDF\r\n\x1a\n\4" + bytes(99)])
def test_what_is_no_hdf5_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="it does not begin as HDF5 does|lie beyond the end|has version 4"):
        open_hdf5(data, MANY)
