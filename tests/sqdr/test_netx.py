"""Reading netx HDF5: the file's integers as they are, and nothing rounded or guessed."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sqdr.bundle import Bundle
from sqdr.errors import BundleError
from sqdr.netx import read_network

h5py = pytest.importorskip("h5py", reason="needs the train extra")

WEIGHT = np.arange(-18, 18).reshape(2, 2, 3, 3)
NETWORK: list[dict[str, Any]] = [
    {"type": b"input", "shape": [1, 8, 8]},
    {
        "type": [b"conv"],
        "shape": [2, 6, 6],
        "weight": WEIGHT.astype(np.float32),
        "bias": np.array([3.0, -4.0]),
        "delay": np.array([0.0]),
        "stride": [1, 2],
        "padding": 0,
        "dilation": [1, 1],
        "groups": 1,
        "neuron": {"type": b"CUBA", "iDecay": 4095, "vDecay": np.array([128.0]), "vThMant": 64.0},
    },
    {"type": "dense", "shape": 5, "weight": np.eye(5, 72)},
]


def written(path: Path, network: list[dict[str, Any]]) -> Path:
    with h5py.File(path, "w") as file:
        for index, layer in enumerate(network):
            group = file.create_group(f"layer/{index}")
            for name, value in layer.items():
                if isinstance(value, dict):
                    for key, number in value.items():
                        group[f"{name}/{key}"] = number
                else:
                    group[name] = value
    return path


def test_network_reads_back_as_integers(tmp_path: Path) -> None:
    blank, conv, dense = read_network(written(tmp_path / "a.net", NETWORK))
    assert (blank.kind, blank.shape, blank.weight, blank.neuron) == ("input", (1, 8, 8), None, None)
    assert (conv.kind, conv.shape, conv.stride, conv.padding, conv.groups) == ("conv", (2, 6, 6), (1, 2), (0,), 1)
    assert conv.weight is not None
    assert conv.weight.dtype == np.int64
    assert (conv.weight == WEIGHT).all()
    assert conv.bias is not None
    assert conv.bias.tolist() == [3, -4]
    assert conv.neuron == {"type": "CUBA", "iDecay": 4095, "vDecay": [128.0], "vThMant": 64.0}
    assert (dense.kind, dense.shape) == ("dense", (5,))


def test_layers_keep_their_order_beyond_ten(tmp_path: Path) -> None:
    # HDF5 lists names as text, where 10 comes before 2
    layers = read_network(written(tmp_path / "a.net", [{"type": "dense", "shape": i} for i in range(1, 13)]))
    assert [layer.shape for layer in layers] == [(i,) for i in range(1, 13)]


def test_exported_network_has_the_specifications_layers(bundle_path: Path) -> None:
    with Bundle.open(bundle_path) as bundle:
        layers = read_network(bundle.path_of("encoder.net"))
        spec = bundle.manifest.model.encoder
    weighted = [layer for layer in layers if layer.weight is not None]
    assert [layer.kind for layer in weighted] == [layer.kind for layer in spec.layers]
    assert weighted[-1].shape[0] == spec.n_features
    assert all(layer.neuron for layer in weighted)


@pytest.mark.parametrize(
    "change",
    [
        {"weight": np.array([0.5])},
        {"weight": np.array([np.nan])},
        {"weight": np.array([np.inf])},
        {"weight": np.array([1e30])},
        {"weight": b"text"},
        {"bias": np.array([1.0, 2.25])},
        {"shape": [np.inf]},
        {"shape": b"x"},
        {"type": np.array([], dtype="S4")},
        {"type": b"\xff"},
        {"groups": np.array([1, 2])},
    ],
    ids=str,
)
def test_values_that_are_no_integers_are_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    path = written(tmp_path / "a.net", [NETWORK[0], NETWORK[1] | change])
    with pytest.raises(BundleError, match="a.net is not a readable netx network. Export again"):
        read_network(path)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89HDF\r\n\x1a\n", b"\x89HDF\r\n\x1a\n" + b"\0" * 500])
def test_what_is_no_hdf5_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.net").write_bytes(content)
    with pytest.raises(BundleError, match="a.net is not a readable netx network. Export again"):
        read_network(tmp_path / "a.net")


def test_hdf5_without_a_whole_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.net"
    with h5py.File(path, "w") as file:
        file["something"] = 1
    with pytest.raises(BundleError, match="a.net is not a readable netx network"):
        read_network(path)
    with h5py.File(path, "w") as file:
        file["layer"] = np.zeros(3)
    with pytest.raises(BundleError, match="a.net is not a readable netx network"):
        read_network(path)
    with h5py.File(path, "w") as file:
        file["layer/1/type"] = b"input"  # layer 0 is missing
    with pytest.raises(BundleError, match="a.net is not a readable netx network"):
        read_network(path)


def test_network_that_claims_more_than_memory_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a.net", NETWORK[:1])
    with h5py.File(path, "a") as file:
        file["layer/0"].create_dataset("weight", shape=(2**50,), chunks=(1024,), dtype="f4")
    with pytest.raises(BundleError, match="a.net is not a readable netx network"):
        read_network(path)


def test_network_cut_short_is_refused(tmp_path: Path) -> None:
    data = written(tmp_path / "a.net", NETWORK).read_bytes()
    generator = random.Random(9)
    for _ in range(50):
        (tmp_path / "a.net").write_bytes(data[: generator.randrange(len(data) - 1)])
        with pytest.raises(BundleError, match="a.net is not a readable netx network"):
            read_network(tmp_path / "a.net")
