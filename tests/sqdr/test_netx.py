"""Reading netx HDF5: the file's integers as they are, and nothing rounded or guessed."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sqdr.bundle import Bundle
from sqdr.errors import BundleError
from sqdr.netx import MAX_LAYERS, MAX_NETWORK_BYTES, MAX_NETWORK_VALUES, read_network

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
            write_all(group, layer)
    return path


def write_all(group: Any, items: dict[str, Any]) -> None:
    for name, value in items.items():
        if isinstance(value, dict):
            write_all(group.create_group(name), value)
        else:
            group[name] = value


def refused(path: Path, reason: str) -> None:
    with pytest.raises(
        BundleError, match=f"a.net is not a readable netx network. Export again. Found: .*{reason}"
    ) as e:
        read_network(path)
    assert len(str(e.value).splitlines()) == 1


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
        {"weight": np.array([2.0**31])},
        {"bias": np.array([-(2**31)])},
        {"stride": np.zeros(9)},
        {"type": b""},
        {"type": b"two words"},
        {"type": 3},
        {"neuron": np.zeros(3)},
        {"neuron": {"vThMant": np.nan}},
        {"neuron": {"vThMant": 2.0**40}},
        {"neuron": {"two words": 1}},
        {"neuron": {"type": b"\x07"}},
        {"neuron": {"deep": {"er": 1}}},
        {"bias": {"real": 1.0}},
    ],
    ids=str,
)
def test_values_of_another_kind_are_refused(tmp_path: Path, change: dict[str, Any]) -> None:
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
    refused(path, "layer is missing")
    with h5py.File(path, "w") as file:
        file["layer"] = np.zeros(3)
    refused(path, "layer must be a group")
    with h5py.File(path, "w") as file:
        file.create_group("layer")
    refused(path, "layers must be numbered from 0 without a gap, got none")


@pytest.mark.parametrize("name", ["2", "-1", "00", "1.0", "x", "a\nb\u2028c"])
def test_layers_that_are_not_counted_from_zero_are_refused(tmp_path: Path, name: str) -> None:
    path = written(tmp_path / "a.net", NETWORK[:1])
    with h5py.File(path, "a") as file:
        file[f"layer/{name}/type"] = b"input"
    refused(path, "layers must be numbered from 0 without a gap")


def test_missing_parts_are_named(tmp_path: Path) -> None:
    refused(written(tmp_path / "a.net", [NETWORK[0], {"shape": 3}]), "layer/1/type is missing")


def test_too_many_layers_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a.net", NETWORK[:1] * (MAX_LAYERS + 1))
    refused(path, "it has 1,025 layers; at most 1,024 are read")


@pytest.mark.parametrize("how", ["contiguous", "chunked", "gzip"])
def test_network_that_declares_more_than_memory_is_refused(tmp_path: Path, how: str) -> None:
    options = {"contiguous": {}, "chunked": {"chunks": (1024,)}, "gzip": {"chunks": (1024,), "compression": "gzip"}}
    path = written(tmp_path / "a.net", NETWORK[:1])
    with h5py.File(path, "a") as file:
        file["layer/0"].create_dataset("weight", shape=(2**40,), dtype="f4", **options[how])
    refused(path, "layer/0/weight declares 1,099,511,627,776 values; at most 33,554,432 are read")


def test_layers_that_share_one_weight_count_it_each_time(tmp_path: Path) -> None:
    path = written(tmp_path / "a.net", [NETWORK[0]] * 3)
    with h5py.File(path, "a") as file:
        file["layer/0/weight"] = np.zeros(MAX_NETWORK_VALUES // 2, np.int8)
        file["layer/1/weight"] = file["layer/0/weight"]
        file["layer/2/weight"] = file["layer/0/weight"]
    refused(path, "exceeds 33,554,432 values in all")


def test_file_larger_than_any_network_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a.net", NETWORK)
    with path.open("ab") as file:
        file.truncate(MAX_NETWORK_BYTES + 1)
    refused(path, "it is larger than 268,435,456 bytes")


def test_blocks_that_are_not_supported_keep_their_name(tmp_path: Path) -> None:
    odd: list[dict[str, Any]] = [
        {"type": b"pool", "shape": b"what", "weight": np.array([0.5])},
        {"type": b"dense_rec", "weight": np.eye(2), "weight_rec": np.eye(2) / 2},
        {"type": b"concat", "layers": np.zeros(2, dtype=[("a", "i4")])},
        {"type": b"average"},
        {"type": b"dense", "shape": 2, "weight": {"real": np.eye(2), "imag": np.eye(2) / 3}},
    ]
    layers = read_network(written(tmp_path / "a.net", [NETWORK[0], *odd, NETWORK[2]]))
    kinds = ["input", "pool", "dense_rec", "concat", "average", "dense_comp", "dense"]
    assert [layer.kind for layer in layers] == kinds
    assert [layer.weight is None for layer in layers] == [True] * 6 + [False]


def test_neuron_is_read_whole(tmp_path: Path) -> None:
    neuron = {
        "type": "SDNN",
        "vThMant": np.array([[64.0], [65.0]]),
        "sigma_output": True,
        "messageBits": np.int8(16),
        "scaleRho": 0.25,
        "iDecay": np.arange(3, dtype=np.uint16),
    }
    _, conv = read_network(written(tmp_path / "a.net", [NETWORK[0], NETWORK[1] | {"neuron": neuron}]))
    assert conv.neuron == {
        "type": "SDNN",
        "vThMant": [[64.0], [65.0]],
        "sigma_output": True,
        "messageBits": 16,
        "scaleRho": 0.25,
        "iDecay": [0, 1, 2],
    }


@pytest.mark.parametrize("where", ["layer", "layer/0", "layer/0/neuron", "layer/0/weight"])
def test_links_to_elsewhere_are_refused(tmp_path: Path, where: str) -> None:
    other = written(tmp_path / "b.net", NETWORK)
    for link in (
        h5py.ExternalLink(str(other), "/" + where),
        h5py.SoftLink("/else"),
        h5py.ExternalLink("/etc/passwd", "/"),
    ):
        path = written(tmp_path / "a.net", [NETWORK[1]])
        with h5py.File(path, "a") as file:
            file["else"] = file[where]
            del file[where]
            file[where] = link
        refused(path, f"{where} is a link|{where.rpartition('/')[0]}.*form of HDF5 1.8")


def test_groups_in_each_other_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a.net", NETWORK[:2])
    with h5py.File(path, "a") as file:
        del file["layer/1/neuron"]
        file["layer/1/neuron"] = file["layer"]
    refused(path, "layer/1/neuron/0 must be a dataset")
    with h5py.File(path, "a") as file:
        del file["layer"]
        file["layer"] = file["/"]
    refused(path, "layers must be numbered")


def test_widest_values_are_read(tmp_path: Path) -> None:
    edge = 2**31 - 1
    (layer,) = read_network(written(tmp_path / "a.net", [NETWORK[2] | {"weight": np.array([edge, -edge, 0.0])}]))
    assert layer.weight is not None
    assert layer.weight.tolist() == [edge, -edge, 0]


def test_network_cut_short_is_refused(tmp_path: Path) -> None:
    data = written(tmp_path / "a.net", NETWORK).read_bytes()
    generator = random.Random(9)
    for _ in range(50):
        (tmp_path / "a.net").write_bytes(data[: generator.randrange(len(data) - 1)])
        with pytest.raises(BundleError, match="a.net is not a readable netx network"):
            read_network(tmp_path / "a.net")
