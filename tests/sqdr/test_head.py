"""The head's parameters on disk, and counts to angles to logits."""

import json
import random
import struct
from math import pi
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from sqdr.errors import BundleError, ShapeError
from sqdr.head import MAX_HEAD_BYTES, MAX_HEADER_BYTES, HeadParameters, counts_to_angles, readout, readout_matrix
from sqdr.specification import HeadSpec

SPEC = HeadSpec(n_qubits=3, n_blocks=2, n_classes=4, features_per_qubit=3)


def parameters(spec: HeadSpec = SPEC, seed: int = 0) -> HeadParameters:
    draw = np.random.default_rng(seed).normal
    return HeadParameters(
        weights=draw(size=(spec.n_blocks, spec.n_qubits, 3)),
        scale_rad=draw(size=spec.n_features),
        readout_weight=draw(size=(spec.n_classes, spec.n_qubits)) if spec.has_readout else None,
        readout_bias=draw(size=spec.n_classes) if spec.has_readout else None,
    )


@pytest.mark.parametrize("has_readout", [True, False])
def test_parameters_read_back_exactly(tmp_path: Path, has_readout: bool) -> None:
    spec = HeadSpec(n_qubits=5, n_blocks=3, n_classes=4, has_readout=has_readout)
    saved, path = parameters(spec), tmp_path / "head.safetensors"
    saved.save(path)
    loaded = HeadParameters.load(path, spec)
    assert loaded.tensors().keys() == saved.tensors().keys()
    assert all((loaded.tensors()[name] == value).all() for name, value in saved.tensors().items())


def test_save_writes_a_transposed_array_in_its_own_order(tmp_path: Path) -> None:
    saved = parameters()
    assert saved.readout_weight is not None
    turned = HeadParameters(**(vars(saved) | {"readout_weight": np.asfortranarray(saved.readout_weight)}))
    turned.save(tmp_path / "head.safetensors")
    loaded = HeadParameters.load(tmp_path / "head.safetensors", SPEC)
    assert (loaded.readout_weight == saved.readout_weight).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": np.zeros((2, 3, 2))}, r"must hold float64 tensors .* got .*\(2, 3, 2\).*Export again"),
        ({"weights": np.zeros((3, 2, 3))}, r"got .*\(3, 2, 3\)"),
        ({"scale_rad": np.zeros(1)}, r"got .*'scale_rad': \(1,\)"),
        ({"weights": np.zeros((2, 3, 3), np.float32)}, "must hold float64 tensors"),
        ({"readout_bias": np.zeros(4, np.int64)}, "must hold float64 tensors"),
        ({"extra": np.zeros(1)}, "got .*'extra'"),
        ({"weights": np.full((2, 3, 3), np.nan)}, "holds values that are not finite. Train and export again"),
        ({"scale_rad": np.full(9, np.inf)}, "holds values that are not finite"),
    ],
)
def test_load_refuses_tensors_of_another_head(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = tmp_path / "head.safetensors"
    path.write_bytes(save(parameters().tensors() | change))
    with pytest.raises(BundleError, match=message) as caught:
        HeadParameters.load(path, SPEC)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["weights", "scale_rad", "readout_weight", "readout_bias"])
def test_load_refuses_a_missing_tensor(tmp_path: Path, name: str) -> None:
    tensors = parameters().tensors()
    tensors.pop(name)
    (tmp_path / "head.safetensors").write_bytes(save(tensors))
    with pytest.raises(BundleError, match=f"must hold float64 tensors .*'{name}'"):
        HeadParameters.load(tmp_path / "head.safetensors", SPEC)


def test_load_refuses_a_readout_that_the_specification_lacks(tmp_path: Path) -> None:
    parameters().save(tmp_path / "head.safetensors")
    spec = HeadSpec(n_qubits=3, n_blocks=2, n_classes=2, features_per_qubit=3, has_readout=False)
    with pytest.raises(BundleError, match="must hold float64 tensors"):
        HeadParameters.load(tmp_path / "head.safetensors", spec)


@pytest.mark.parametrize("dtype", ["BF16", "F8_E4M3", "F8_E5M2", "F16", "BOOL", "X"])
def test_load_refuses_types_that_numpy_lacks(tmp_path: Path, dtype: str) -> None:
    n_bytes = {"BF16": 2, "F16": 2}.get(dtype, 1)
    header = json.dumps({"weights": {"dtype": dtype, "shape": [1], "data_offsets": [0, n_bytes]}}).encode()
    path = tmp_path / "head.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(n_bytes))
    with pytest.raises(BundleError, match="head.safetensors"):
        HeadParameters.load(path, SPEC)


def test_load_refuses_any_damage_that_changes_the_header(tmp_path: Path) -> None:
    path = tmp_path / "head.safetensors"
    parameters().save(path)
    data, generator, messages = path.read_bytes(), random.Random(4), []
    n_header = 8 + struct.unpack("<Q", data[:8])[0]
    for _ in range(200):
        damaged = bytearray(data)
        damaged[generator.randrange(n_header)] ^= 1 << generator.randrange(8)
        path.write_bytes(damaged)
        try:
            HeadParameters.load(path, SPEC)
        except BundleError as error:
            messages.append(str(error))
    assert len(messages) > 100
    assert [message for message in messages if len(message.splitlines()) != 1] == []
    for length in range(0, len(data), 37):
        path.write_bytes(data[:length])
        with pytest.raises(BundleError, match="head.safetensors is not a readable safetensors file"):
            HeadParameters.load(path, SPEC)


@pytest.mark.parametrize("n_header", [2**60, 2**64 - 1, MAX_HEADER_BYTES + 1, 10**6])
def test_load_refuses_a_header_of_more_than_it_may_have(tmp_path: Path, n_header: int) -> None:
    path = tmp_path / "head.safetensors"
    # whole where it is not too large to be written
    header = b"{}".ljust(min(n_header, 10**6))
    path.write_bytes(struct.pack("<Q", n_header) + header)
    with pytest.raises(BundleError, match="is not a readable safetensors file"):
        HeadParameters.load(path, SPEC)


def test_load_refuses_a_file_larger_than_any_head(tmp_path: Path) -> None:
    path = tmp_path / "head.safetensors"
    parameters().save(path)
    with path.open("ab") as file:
        file.truncate(MAX_HEAD_BYTES + 1)
    with pytest.raises(BundleError, match="is not a readable safetensors file"):
        HeadParameters.load(path, SPEC)


def test_load_takes_the_largest_head(tmp_path: Path) -> None:
    spec = HeadSpec(n_qubits=1024, n_classes=1000, features_per_qubit=3)
    parameters(spec).save(tmp_path / "head.safetensors")
    assert HeadParameters.load(tmp_path / "head.safetensors", spec).weights.shape == (2, 1024, 3)


def test_load_refuses_what_is_no_file(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(BundleError, match="is not a readable safetensors file. Export again"):
            HeadParameters.load(path, SPEC)


@given(
    n=st.integers(0, 4),
    n_qubits=st.integers(1, 5),
    features_per_qubit=st.sampled_from([1, 3]),
    n_steps=st.integers(1, 256),
    seed=st.integers(0, 99),
)
def test_counts_to_angles_places_each_feature(n, n_qubits, features_per_qubit, n_steps, seed) -> None:
    spec = HeadSpec(n_qubits=n_qubits, features_per_qubit=features_per_qubit)
    generator = np.random.default_rng(seed)
    counts = generator.integers(0, n_steps + 1, (n, spec.n_features))
    scale_rad = generator.uniform(0.1, 4 * pi, spec.n_features)
    angles = counts_to_angles(counts, n_steps, scale_rad, spec)
    expected = np.zeros((n, n_qubits, 3))
    for sample in range(n):
        for feature in range(spec.n_features):
            qubit, axis = (feature // 3, feature % 3) if features_per_qubit == 3 else (feature, 1)
            expected[sample, qubit, axis] = scale_rad[feature] * counts[sample, feature] / n_steps
    assert angles.shape == expected.shape
    # three roundings of float64 in another order
    np.testing.assert_allclose(angles, expected, rtol=1e-15, atol=0)


def test_counts_to_angles_reaches_the_scale_at_rate_one() -> None:
    spec = HeadSpec(n_qubits=2)
    angles = counts_to_angles(np.array([[0, 7]]), 7, np.array([pi, pi]), spec)
    # one rounding of the division
    np.testing.assert_allclose(angles[0, :, 1], [0, pi], rtol=1e-15)


@pytest.mark.parametrize("shape", [(9,), (2, 8), (2, 10), (2, 9, 1)])
def test_counts_to_angles_refuses_other_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"`counts` must be \(N, 9\), got "):
        counts_to_angles(np.zeros(shape, dtype=np.int64), 8, np.ones(9), SPEC)


def test_readout_is_the_linear_layer() -> None:
    found = parameters()
    assert found.readout_weight is not None
    assert found.readout_bias is not None
    expectations = np.random.default_rng(1).uniform(-1, 1, (5, 3))
    logits = readout(expectations, found, SPEC)
    expected = [
        [
            sum(w * z for w, z in zip(row, sample, strict=True)) + b
            for row, b in zip(found.readout_weight, found.readout_bias, strict=True)
        ]
        for sample in expectations
    ]
    # sums of three products in another order
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-14)


def test_readout_without_a_layer_is_the_first_expectations() -> None:
    spec = HeadSpec(n_qubits=5, n_classes=2, has_readout=False)
    expectations = np.random.default_rng(1).uniform(-1, 1, (3, 5))
    assert (readout(expectations, parameters(spec), spec) == expectations[:, :2]).all()


@pytest.mark.parametrize("has_readout", [True, False])
def test_readout_matrix_gives_the_logits_of_readout(has_readout: bool) -> None:
    spec = HeadSpec(n_qubits=5, n_classes=3, has_readout=has_readout)
    found = parameters(spec)
    weight, bias = readout_matrix(found, spec)
    expectations = np.random.default_rng(1).uniform(-1, 1, (4, 5))
    # the same products and sums, once with zeros in them
    np.testing.assert_allclose(expectations @ weight.T + bias, readout(expectations, found, spec), rtol=0, atol=1e-14)
