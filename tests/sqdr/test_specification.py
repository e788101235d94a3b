"""What a model may be: every refusal names the layer and the way out, and what is accepted has the stated shapes."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqdr.errors import ConfigError
from sqdr.specification import UNEXPORTABLE, CodingSpec, EncoderSpec, HeadSpec, ModelSpec
from sqdr.strict import parse

CONV = {"kind": "conv", "out_channels": 4}
DENSE = {"kind": "dense", "out_features": 6}
SIZES = st.tuples(st.integers(1, 4), st.integers(1, 4))


def encoder(**changes: Any) -> dict[str, Any]:
    return {"input_shape": [1, 8, 8], "layers": [CONV, DENSE], **changes}


def model(**changes: Any) -> dict[str, Any]:
    return {"encoder": encoder(), "head": {"n_qubits": 6}, **changes}


def window_places(size: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    """Count where a dilated window lies inside the padded axis by laying it down at every place."""
    axis = np.arange(-padding, size + padding)
    starts = range(0, len(axis), stride)
    return sum(start + dilation * (kernel - 1) < len(axis) for start in starts)


@given(
    size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    kernel=SIZES,
    stride=SIZES,
    padding=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    dilation=SIZES,
)
def test_conv_shape_counts_the_places_of_its_window(size, kernel, stride, padding, dilation) -> None:
    conv = CONV | {"kernel_size": kernel, "stride": stride, "padding": padding, "dilation": dilation}
    places = [window_places(*axis) for axis in zip(size, kernel, stride, padding, dilation, strict=True)]
    data = encoder(input_shape=[1, *size], layers=[conv, DENSE])
    if 0 in places:
        with pytest.raises(ConfigError, match="layer 0: the kernel spans .* Use a smaller kernel or stride"):
            parse(EncoderSpec, data, "config")
    else:
        assert parse(EncoderSpec, data, "config").shapes == [(4, *places), (6,)]


def test_one_number_means_both_axes() -> None:
    layers = [CONV | {"kernel_size": 5, "stride": 2, "padding": 1, "dilation": 1}, DENSE]
    pairs = [CONV | {"kernel_size": [5, 5], "stride": [2, 2], "padding": [1, 1], "dilation": [1, 1]}, DENSE]
    assert parse(EncoderSpec, encoder(layers=layers), "a") == parse(EncoderSpec, encoder(layers=pairs), "b")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layers": [DENSE, DENSE]}, "must begin with a conv: .* Use a conv with the image's own size"),
        ({"layers": [CONV, CONV]}, "must end with a dense layer"),
        ({"layers": [CONV, DENSE, CONV, DENSE]}, "layer 2: a conv cannot follow a dense layer"),
        ({"layers": [DENSE]}, "at least 2 items"),
        ({"layers": []}, "at least 2 items"),
        ({"layers": [CONV] * 64 + [DENSE]}, "at most 64 items"),
        ({"layers": "conv"}, "layers: Input should be a valid tuple"),
        ({"layers": [CONV | {"delay": 1}, DENSE]}, "layer 0: delays cannot be exported exactly .* remove `delay`"),
        ({"layers": [CONV, DENSE | {"delay": True}]}, "layer 1: delays"),
        ({"layers": [CONV | {"groups": 3}, DENSE]}, "layer 0: `groups` must divide the input channels 1 and .* got 3"),
        ({"layers": [CONV | {"groups": 128}, DENSE]}, "groups: Input should be less than or equal to 127, got 128"),
        ({"layers": [CONV | {"kernel": 3}, DENSE]}, "unknown key 'kernel'; did you mean 'kernel_size'"),
        ({"layers": [CONV | {"kernel_size": 0}, DENSE]}, "kernel_size.0: .* greater than or equal to 1, got 0"),
        ({"layers": [CONV | {"kernel_size": [3, 3, 3]}, DENSE]}, "kernel_size: "),
        ({"layers": [CONV | {"kernel_size": True}, DENSE]}, "kernel_size: Input should be a valid tuple"),
        ({"layers": [{"kind": ["conv"]}, DENSE]}, r"layers\.0: Input tag"),
        ({"layers": [{"out_channels": 4}, DENSE]}, "layers.0: Unable to extract tag using discriminator 'kind'"),
        ({"layers": [None, DENSE]}, r"layers\.0: "),
        ({"input_shape": [1, 8]}, "input_shape"),
        ({"input_shape": [0, 8, 8]}, "input_shape.0: .* got 0"),
        ({"neuron": {"threshold": 0.01}}, "neuron.threshold: .* greater than or equal to 0.015625, got 0.01"),
        ({"neuron": {"threshold": 2048}}, "neuron.threshold: .* got 2048"),
        ({"neuron": {"voltage_decay": 1.01}}, "neuron.voltage_decay: .* got 1.01"),
        ({"surrogate": {"tau_grad": 0}}, "surrogate.tau_grad: Input should be greater than 0"),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_encoder_refuses_what_could_not_be_exported(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        parse(EncoderSpec, encoder(**changes), "config")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("kind", sorted(UNEXPORTABLE))
def test_encoder_names_the_way_out_of_a_layer_that_netx_cannot_build(kind: str) -> None:
    with pytest.raises(ConfigError, match=f"layer 1: kind '{kind}' cannot be exported to Lava; {UNEXPORTABLE[kind]}"):
        parse(EncoderSpec, encoder(layers=[CONV, {"kind": kind}, DENSE]), "config")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_qubits": 0}, "n_qubits: .* got 0"),
        ({"n_qubits": 5, "has_readout": False}, "`n_qubits` must be at least n_classes 10 without a readout, got 5"),
        ({"features_per_qubit": 2}, "features_per_qubit: Input should be 1 or 3, got 2"),
        ({"scale_rad": 0}, "scale_rad: .* got 0"),
        ({"scale_rad": float("nan")}, "scale_rad: .* got nan"),
        ({"entangler": "star"}, "entangler: Input should be 'ring', 'chain' or 'none', got 'star'"),
        ({"n_classes": 1}, "n_classes: .* got 1"),
    ],
)
def test_head_refuses_what_cannot_classify(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(HeadSpec, {"n_qubits": 6} | changes, "config")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"head": {"n_qubits": 5}},
            r"makes 6 features but the head takes 5 \(n_qubits 5 x features_per_qubit 1\)",
        ),
        (
            {"head": {"n_qubits": 6, "features_per_qubit": 3}},
            r"makes 6 features but the head takes 18 \(n_qubits 6 x features_per_qubit 3\)",
        ),
        (
            {"coding": {"kind": "graded", "bits": 8}, "encoder": encoder(neuron={"threshold": 9})},
            "`threshold` times the coding's largest payload must be at most 2048.0, got 2295.0. Use a smaller",
        ),
        ({"coding": {"kind": "poisson"}}, "coding.kind: Input should be 'rate'"),
        ({"coding": {"n_steps": 0}}, "coding.n_steps: .* got 0"),
        ({"coding": {"kind": "graded", "bits": 9}}, "coding.bits: .* got 9"),
        ({"codign": {}}, "unknown key 'codign'; did you mean 'coding'"),
    ],
)
def test_model_refuses_parts_that_do_not_fit(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(ModelSpec, model(**changes), "config")


@pytest.mark.parametrize(("threshold", "fits"), [(131071 / 64 / 128, True), (131072 / 64 / 128, False)])
def test_scaled_threshold_fits_the_hardware_exactly_to_its_limit(threshold: float, fits: bool) -> None:
    # 17 bits of threshold mantissa: 131071 fits, 131072 does not
    data = model(coding={"kind": "weighted_phase"}, encoder=encoder(neuron={"threshold": threshold}))
    if fits:
        parse(ModelSpec, data, "config")
    else:
        with pytest.raises(ConfigError, match="`threshold` times the coding's largest payload"):
            parse(ModelSpec, data, "config")


@given(
    n_qubits=st.integers(1, 40),
    features_per_qubit=st.sampled_from([1, 3]),
    kind=st.sampled_from(["rate", "bernoulli", "thermometer", "bitplane", "weighted_phase", "graded"]),
    n_steps=st.integers(1, 256),
    decay=st.floats(0, 1),
    scale_rad=st.floats(0, 12, exclude_min=True),
    entangler=st.sampled_from(["ring", "chain", "none"]),
)
def test_model_survives_json_exactly(n_qubits, features_per_qubit, kind, n_steps, decay, scale_rad, entangler) -> None:
    head = {
        "n_qubits": n_qubits,
        "features_per_qubit": features_per_qubit,
        "entangler": entangler,
        "scale_rad": scale_rad,
    }
    dense = {"kind": "dense", "out_features": n_qubits * features_per_qubit}
    neuron = {"voltage_decay": decay}
    data = model(
        coding={"kind": kind, "n_steps": n_steps}, encoder=encoder(layers=[CONV, dense], neuron=neuron), head=head
    )
    spec = parse(ModelSpec, data, "config")
    assert parse(ModelSpec, json.loads(spec.model_dump_json()), "config") == spec
    assert spec.head.n_features == spec.encoder.n_features == spec.encoder.shapes[-1][0]
    assert (spec.timing.n_steps, spec.timing.period, spec.timing.n_layers) == (n_steps, n_steps, 2)


@given(kind=st.sampled_from(["rate", "graded", "weighted_phase"]), bits=st.integers(1, 8))
def test_coding_message_bits_hold_its_largest_payload(kind: str, bits: int) -> None:
    coding = CodingSpec(kind=kind, bits=bits)
    n_bits = coding.max_payload.bit_length()
    assert coding.message_bits == (0 if n_bits == 1 and kind == "rate" else n_bits)


@pytest.mark.parametrize(
    ("n_qubits", "n_blocks", "entangler"),
    [(16, 64, "ring"), (17, 2, "ring"), (17, 8, "ring"), (1024, 8, "chain"), (1024, 64, "none")],
)
def test_head_whose_light_cones_can_be_computed_is_taken(n_qubits: int, n_blocks: int, entangler: str) -> None:
    assert HeadSpec(n_qubits=n_qubits, n_blocks=n_blocks, entangler=entangler).n_blocks == n_blocks


@pytest.mark.parametrize(("n_qubits", "n_blocks", "width"), [(17, 9, 17), (1024, 9, 17), (18, 64, 18)])
def test_head_whose_light_cones_are_too_wide_is_refused_in_one_line(n_qubits: int, n_blocks: int, width: int) -> None:
    message = f"at most 8 blocks, got {n_qubits} qubits and {n_blocks} blocks, whose light cones take {width} qubits"
    with pytest.raises(ConfigError, match=message) as caught:
        parse(HeadSpec, {"n_qubits": n_qubits, "n_blocks": n_blocks}, "head")
    assert len(str(caught.value).splitlines()) == 1
