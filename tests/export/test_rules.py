"""One test per rule: a sound network, then the same with one thing wrong, or on smaller hardware."""

import itertools
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lava_networks import NEEDS_LAVA, import_lava, lava_encoder

from sqdr.deploy.encoders.integer import IntegerEncoder
from sqdr.deploy.encoders.integer.network import dense_weight_in_lava, integer_layers
from sqdr.errors import ExportError
from sqdr.export.network import parameter
from sqdr.export.rules import RULES, Network, check_rules, violations
from sqdr.export.rules_states import state_bounds
from sqdr.hw_configs import Loihi2
from sqdr.hw_configs.loader import packaged_hardware
from sqdr.hw_configs.schema import Figure
from sqdr.netx import NetxLayer

NEURON = {"type": "CUBA", "iDecay": 4096, "vDecay": 410, "vThMant": 64, "refDelay": 1, "gradedSpike": False}
CONV = NetxLayer(
    kind="conv",
    shape=(2, 3, 3),
    weight=np.full((2, 1, 3, 3), 2),
    stride=(1, 1),
    padding=(0, 0),
    dilation=(1, 1),
    neuron=NEURON,
)
FLATTEN = NetxLayer(kind="flatten", shape=(18, 1, 1))
DENSE = NetxLayer(kind="dense", shape=(4,), weight=np.full((4, 18), -6), neuron=NEURON)
INPUT = NetxLayer(kind="input", shape=(1, 5, 5))
SOUND = [CONV, FLATTEN, DENSE]


def neuron(**changes: Any) -> dict:
    return {"neuron": NEURON | changes}


def conv_weight(value: int, shape: tuple[int, ...] = (2, 1, 3, 3)) -> np.ndarray:
    return np.full(shape, value)


BROKEN = {
    "layer_kind_is_supported": [replace(FLATTEN, kind=kind) for kind in ("pool", "convT", "unpool", "average", "x")],
    "layer_has_neuron": [replace(DENSE, neuron=None), replace(CONV, neuron=None)],
    "layer_has_weights": [
        replace(layer, weight=value) for layer in (CONV, DENSE) for value in (None, np.zeros((0, 1)))
    ],
    "neuron_is_cuba": [replace(DENSE, **neuron(type="ALIF"))],
    "neuron_parameters_are_honoured": [
        replace(DENSE, **neuron(refDelay=2)),
        replace(DENSE, **neuron(gradedSpike=True)),
        replace(CONV, **neuron(tauRho=1)),
        replace(DENSE, **neuron(vThMant=64.5)),
        replace(DENSE, **neuron(vDecay="410 or so")),
        replace(DENSE, **neuron(vDecay=[1, 2, 3])),
        replace(DENSE, **neuron(iDecay=float("nan"))),
    ],
    "layers_connect": [
        replace(FLATTEN, kind="dense", shape=(18,), weight=np.full((18, 18), 2), neuron=NEURON),
        replace(DENSE, kind="conv", shape=(4, 1, 1), weight=conv_weight(2, (4, 1, 1, 1))),
        replace(DENSE, kind="flatten", weight=None, neuron=None),
        replace(INPUT, kind="input"),
    ],
    "conv_sizes_fit": [
        replace(CONV, weight=conv_weight(2, (2, 1, 128, 1))),
        replace(CONV, stride=(1, 128)),
        replace(CONV, stride=(0, 1)),
        replace(CONV, padding=(128, 0)),
        replace(CONV, padding=(-1, 0)),
        replace(CONV, dilation=(0, 1)),
        replace(CONV, dilation=(1, 128)),
    ],
    "groups_fit": [replace(CONV, groups=128), replace(CONV, groups=0), replace(CONV, groups=3)],
    "delays_end_with_the_sample": [replace(DENSE, delay=np.array([0, 0, 1, 0]))],
    "weights_make_the_shape": [
        replace(CONV, weight=conv_weight(2, (3, 1, 3, 3))),
        replace(CONV, weight=conv_weight(2, (2, 1, 3, 3, 2))),
        replace(CONV, weight=conv_weight(2, (2, 9))),
        replace(DENSE, weight=np.full((5, 18), 2)),
        replace(DENSE, weight=np.full(72, 2)),
    ],
    "dense_weight_fits": [replace(DENSE, weight=np.full((4, 18), value)) for value in (256, -258)],
    "conv_weight_fits": [replace(CONV, weight=conv_weight(value)) for value in (256, -258)],
    "weight_is_even": [replace(CONV, weight=conv_weight(3))],
    "dense_weight_is_exact": [replace(DENSE, weight=np.full((4, 18), -(2**k))) for k in range(1, 9)],
    "weights_are_not_all_zero": [replace(DENSE, weight=np.zeros((4, 18), int))],
    "threshold_fits": [replace(DENSE, **neuron(vThMant=value)) for value in (131072, 0, -5, [64, 64, 0, 64])],
    "decay_fits": [replace(DENSE, **neuron(vDecay=value)) for value in (4097, -1, [0, 1, 2, 4097])]
    + [replace(DENSE, **neuron(iDecay=value)) for value in (4097, 0)],
    "bias_fits": [replace(DENSE, bias=np.array([0, value, 0, 0])) for value in (4096, -4097)]
    + [replace(DENSE, bias=np.array([1])), replace(CONV, bias=np.ones((2, 3, 3), int))],
    "delay_fits": [replace(CONV, delay=np.ones(2, int))]
    + [replace(DENSE, delay=np.full(4, value)) for value in (63, -1)],
}
# The number in the violation is the one at fault, next to the limit and where that is written.
MESSAGES = {
    "dense_weight_fits": r"\[-258, -258\], loihi2_sim holds \[-256, 254\]",
    "dense_weight_is_exact": r"round 72 of its 72 weights, the first from -256 to 0\.",
    "threshold_fits": r"\[0, 64\], loihi2_sim holds \[1, 131071\]",
    "decay_fits": r"iDecay spans \[0, 0\], loihi2_sim holds \[1, 4096\]",
    "bias_fits": r"\[-4097, 0\], loihi2_sim holds \[-4096, 4095\]",
    "delay_fits": r"\[63, 63\], netx and loihi2_sim hold \[0, 62\]",
}
# One register narrower than the sound network needs.
NARROW = {
    "weight_bits": (2, {"dense_weight_fits"}, r"\[-6, -6\], tiny_chip holds \[-4, 2\]"),
    "threshold_bits": (6, {"threshold_fits"}, r"\[64, 64\], tiny_chip holds \[1, 63\]"),
    "decay_bits": (8, {"decay_fits"}, r"iDecay spans \[4096, 4096\], tiny_chip holds \[1, 256\]"),
    "bias_mantissa_bits": (3, {"bias_fits"}, r"\[-4, 4\], tiny_chip holds \[-4, 3\]"),
    "bias_exponent_bits": (2, {"bias_fits"}, r"exponent 6, tiny_chip holds 0 to 3"),
    "state_bits": (11, {"current_stays_in_24_bits"}, r"can reach 1,152, tiny_chip wraps it at 1,024"),
    "n_neurons_per_core": (21, {"neurons_fit"}, r"22 neurons, most of them here; tiny_chip has 21\."),
    "n_synapses_per_chip": (89, {"synapses_fit"}, r"90 weights, most of them here; tiny_chip holds 89\."),
    "delay_bits": (1, {"delay_fits", "delays_end_with_the_sample"}, r"\[2, 2\], netx and tiny_chip hold \[0, 1\]"),
}


def chip(**values: Any) -> Loihi2:
    hardware = packaged_hardware("loihi2_sim")
    assert isinstance(hardware, Loihi2)
    figures = {
        name: Figure(value=value, source="made up", as_of="2026-11") if isinstance(value, int) else value
        for name, value in values.items()
    }
    return hardware.model_copy(update={"name": "tiny_chip"} | figures)


def test_sound_network_breaks_no_rule() -> None:
    assert violations(Network(SOUND)) == []
    assert violations(Network([INPUT, *SOUND])) == []
    # values at the limits are inside
    at_limits = replace(
        DENSE,
        weight=np.array([[-256, 254]]),
        bias=np.array([-4096]),
        shape=(1,),
        delay=np.array([0]),
        **neuron(vThMant=131071, vDecay=4096, iDecay=1),
    )
    widest = replace(CONV, stride=(127, 127), padding=(127, 127), dilation=(127, 127))
    assert violations(Network([widest, FLATTEN, at_limits])) == []


@pytest.mark.parametrize("rule", sorted(BROKEN))
def test_rule_names_the_layer_and_what_to_change(rule: str) -> None:
    assert BROKEN[rule]
    messages = []
    for broken in BROKEN[rule]:
        place = {"conv": 0, "flatten": 1, "dense": 2}.get(broken.kind, 1)
        if rule == "layers_connect":  # what is in the wrong place cannot be put in its own
            place = 1 if broken.kind in ("dense", "input") else 2
        network = [broken if index == place else layer for index, layer in enumerate(SOUND)]
        found = [violation for violation in violations(Network(network)) if violation.rule == rule]
        assert [violation.layer for violation in found] == [f"layer {place} ({broken.kind})"]
        assert found[0].problem
        assert found[0].fix
        messages.append(found[0].problem)
    assert re.search(MESSAGES.get(rule, "."), " ".join(messages))


def test_network_that_begins_flat_is_refused() -> None:
    assert {violation.rule for violation in violations(Network([FLATTEN, DENSE]))} == {"network_begins_with_conv"}
    assert "network_begins_with_conv" in {violation.rule for violation in violations(Network([]))}


def test_every_rule_has_a_test() -> None:
    narrow = {rule for _, rules, _ in NARROW.values() for rule in rules}
    others = {"network_begins_with_conv", "voltage_stays_in_24_bits", "shape_is_the_models"}
    assert {rule.__name__ for rule in RULES} == set(BROKEN) | narrow | others
    assert len({rule.__name__ for rule in RULES}) == len(RULES)


def test_shape_with_its_axes_mixed_up_is_refused() -> None:
    shapes = ((2, 3, 3), (4,))
    assert violations(Network(SOUND, shapes=shapes)) == []
    mixed = [replace(CONV, shape=(2, 3, 1)), FLATTEN, DENSE]
    assert [(v.rule, v.layer) for v in violations(Network(mixed, shapes=shapes))] == [
        ("shape_is_the_models", "layer 0 (conv)")
    ]


@pytest.mark.parametrize("shapes", [((2, 3, 3),), ((2, 3, 3), (4,), (4,)), ()])
def test_layer_that_was_left_out_is_refused(shapes: tuple) -> None:
    found = violations(Network(SOUND, shapes=shapes))
    assert [violation.rule for violation in found] == ["shape_is_the_models"]
    assert f"2 conv and dense layers, the model has {len(shapes)}" in found[0].problem


@pytest.mark.parametrize("name", sorted(NARROW))
def test_limit_is_the_hardware_files(name: str) -> None:
    value, rules, message = NARROW[name]
    network = [replace(CONV, bias=np.array([-4, 4])), FLATTEN, DENSE]
    if name == "delay_bits":
        network[2] = replace(DENSE, delay=np.full(4, 2))
    if name != "delay_bits":
        assert violations(Network(network, hardware=chip(n_cores_per_chip=1))) == []
    hardware = chip(n_cores_per_chip=1, **{name: value})
    found = violations(Network(network, hardware=hardware))
    assert {violation.rule for violation in found} == rules
    with pytest.raises(ExportError, match=message):
        check_rules(Network(network, hardware=hardware))


def test_every_limit_of_the_hardware_file_is_used_by_a_rule() -> None:
    limits = {name for name, field in Loihi2.model_fields.items() if name.endswith("_bits") or "neurons" in name}
    assert len(limits) >= 8
    assert limits <= set(NARROW)


def test_chip_holds_no_full_voltage_decay_as_the_simulation_does() -> None:
    network = [replace(CONV, **neuron(vDecay=4096)), FLATTEN, DENSE]
    assert violations(Network(network)) == []
    real = chip().model_copy(update={"is_simulated": False})
    with pytest.raises(ExportError, match=r"vDecay spans \[4096, 4096\], tiny_chip holds \[0, 4095\].*voltage_decay"):
        check_rules(Network(network, hardware=real))


@pytest.mark.parametrize(
    ("rows", "payload", "changes", "n_steps", "expected"),
    [
        # 254 * 516 = 131,064 is the last sum below 2^17
        (516, 1, {}, 1, set()),
        (517, 1, {}, 1, {"current_stays_in_24_bits"}),
        # the positive and the negative half of the inputs cannot both be counted
        (-1032, 1, {}, 1, set()),
        (3, 255, {}, 1, {"current_stays_in_24_bits"}),
        (3, 15, {}, 1, set()),
        # without decay, eight steps add up: in the current, and again in the voltage
        (100, 1, {"iDecay": 1}, 8, {"current_stays_in_24_bits"}),
        # the voltage adds up downwards only: upwards a spike resets it
        (-1000, 1, {"vDecay": 0}, 8, {"voltage_stays_in_24_bits"}),
        (100, 1, {"vDecay": 0}, 8, set()),
        (100, 1, {"vDecay": 4096}, 8, set()),
        # a bias pulls at every step; only downwards
        (-500, 1, {"vDecay": 0, "bias": -2036}, 2, {"voltage_stays_in_24_bits"}),
        (-500, 1, {"vDecay": 0, "bias": -2035}, 2, set()),
        (-500, 1, {"vDecay": 0, "bias": 2036}, 2, set()),
    ],
)
def test_state_that_leaves_24_bits_is_refused(rows, payload, changes, n_steps, expected) -> None:
    taps = np.full(abs(rows), 254)
    if rows < 0:
        taps[1::2] *= -1
    # (C_in, kH, kW) of a kernel that Lava's 7 bits can hold
    weight = np.zeros((1, -(-len(taps) // 100), 10, 10), int)
    weight.flat[: len(taps)] = taps
    bias = np.array([changes.pop("bias")]) if "bias" in changes else None
    layer = replace(CONV, shape=(1, 1, 1), weight=weight, bias=bias, neuron=NEURON | {"vDecay": 4096} | changes)
    assert {found.rule for found in violations(Network([layer], (payload,) * n_steps))} == expected


def test_huge_weights_overflow_no_bound() -> None:
    layer = replace(CONV, weight=conv_weight(2**31 - 2, (2, 64, 32, 32)), **neuron(iDecay=1, vDecay=0))
    found = {violation.rule for violation in violations(Network([layer], (255,) * 256))}
    assert found == {"conv_weight_fits", "current_stays_in_24_bits"}


def all_inputs(n_inputs: int, n_steps: int) -> np.ndarray:
    """Every binary input of so many values and steps: (N, 1, 1, n_inputs, T)."""
    bits = list(itertools.product((0, 1), repeat=n_inputs * n_steps))
    return np.array(bits, np.uint8).reshape(-1, 1, 1, n_inputs, n_steps)


@settings(max_examples=60)
@given(
    weight=st.lists(st.integers(-128, 127), min_size=3, max_size=3).map(lambda values: [2 * value for value in values]),
    i_decay=st.integers(1, 4096),
    v_decay=st.integers(0, 4096),
    bias=st.integers(-4096, 4095),
    n_steps=st.integers(1, 3),
)
def test_bounds_are_reached_and_never_passed(weight, i_decay, v_decay, bias, n_steps) -> None:
    layer = NetxLayer(
        kind="conv",
        shape=(1, 1, 1),
        weight=np.array(weight).reshape(1, 1, 1, 3),
        bias=np.array([bias]),
        stride=(1, 1),
        padding=(0, 0),
        dilation=(1, 1),
        neuron=NEURON | {"iDecay": i_decay, "vDecay": v_decay, "vThMant": 131071},
    )
    ((_, current, voltage),) = state_bounds(Network([layer], (1,) * n_steps))
    encoder = IntegerEncoder(integer_layers([layer], (1, 1, 3)), n_steps=n_steps)
    (trace,) = encoder.trace(all_inputs(3, n_steps))
    assert np.abs(trace.current).max() == current
    lowest = max(0, -int(trace.voltage.min()))
    # with a bias upwards the bound leaves it out
    assert lowest == voltage if bias <= 0 else lowest <= voltage


@pytest.mark.lava
@given(
    st.lists(st.integers(-130, 130), min_size=1, max_size=6).map(lambda values: [2 * value for value in values])
    | st.lists(st.sampled_from([-256, -128, -64, -6, -4, -2, 0]), min_size=1, max_size=4)
    | st.lists(st.sampled_from([0, 2, 4, 64, 128, 254]), min_size=1, max_size=4)
)
def test_dense_weights_that_pass_are_those_that_lava_computes_with(values: list[int]) -> None:
    weight = np.array([values])
    layer = replace(DENSE, shape=(1,), weight=weight)
    about_weights = {"dense_weight_fits", "dense_weight_is_exact", "weights_are_not_all_zero"}
    found = {violation.rule for violation in violations(Network([CONV, FLATTEN, layer]))} & about_weights
    assert (found == set()) == (weight.any() and lavas_own(weight) == values)


def lavas_own(weight: np.ndarray) -> list[int] | None:
    """What Lava's own functions make of the weights, or None where they fail."""
    synapse = import_lava("lava.utils.weightutils")
    with np.errstate(divide="ignore", invalid="ignore"):
        try:
            shifted, n_bits, exponent, _ = import_lava("lava.lib.dl.netx.utils").optimize_weight_bits(weight)
        except (OverflowError, ValueError):
            return None
    mode = synapse.determine_sign_mode(shifted)
    held = synapse.truncate_weights(synapse.clip_weights(shifted, mode, num_bits=8), mode, n_bits)
    held = np.left_shift(held, exponent) if exponent > 0 else np.right_shift(held, -exponent)
    return [int(value) for value in held[0]]


@pytest.mark.lava
def test_lava_keeps_convolution_sizes_in_eight_bits() -> None:
    models, conv = import_lava("lava.proc.conv.models"), import_lava("lava.proc.conv.utils").conv

    for name in ("kernel_size", "stride", "padding", "dilation", "groups"):
        assert getattr(models.PyConvModelFixed, name).d_type is np.int8
    image, weight = np.ones((127, 127, 1), bool), np.full((1, 127, 127, 1), 2, np.int32)
    sizes = [np.array([size, size]) for size in (127, 1, 0, 1)]
    assert conv(image, weight, *(size.astype(np.int8) for size in sizes), 1).tolist() == [[[2 * 127**2]]]
    sizes[0] = np.array([128, 128])
    with pytest.raises(ValueError, match="negative dimensions"):
        conv(np.ones((128, 128, 1), bool), weight, *(size.astype(np.int8) for size in sizes), 1)


@pytest.mark.lava
@pytest.mark.slow
@NEEDS_LAVA[1]
def test_lava_carries_delayed_spikes_into_the_next_sample(tmp_path: Path) -> None:
    from netx_networks import write_network

    spikes = np.zeros((2, 1, 5, 5, 3), np.uint8)
    spikes[0, ..., -1] = 1  # the first sample's last step only; the second is blank
    trains = {}
    for delay in (0, 1):
        layer = replace(DENSE, weight=np.full((4, 18), 30), delay=np.full(4, delay))
        network = [replace(CONV, weight=conv_weight(20)), FLATTEN, layer]
        assert (violations(Network(network)) == []) == (delay == 0)
        with lava_encoder(write_network(tmp_path / f"{delay}.net", network), (1, 5, 5), 3) as encoder:
            trains[delay] = encoder.spike_trains(spikes)
    assert trains[0][1].sum() == 0
    assert trains[1][1].sum() > 0


def test_refused_dense_weights_are_others_in_lava() -> None:
    for broken in BROKEN["dense_weight_is_exact"]:
        assert not np.array_equal(dense_weight_in_lava(broken.weight), broken.weight)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(64, [64]), ([1, 2, 3, 4], [1, 2, 3, 4]), (np.int64(5), [5]), ([1, 2], None), (0.5, None), ("x", None)],
)
def test_parameter_reads_one_number_or_one_for_each_channel(value: Any, expected: list[int] | None) -> None:
    found = parameter(replace(DENSE, **neuron(vDecay=value)), "vDecay")
    assert (None if found is None else found.tolist()) == expected


def test_all_violations_are_listed_at_once() -> None:
    network = [replace(CONV, groups=200), FLATTEN, replace(DENSE, weight=np.zeros((4, 18), int), **neuron(vThMant=0))]
    with pytest.raises(ExportError, match="groups_fit.*layer 0") as caught:
        check_rules(Network(network))
    for rule in ("groups_fit", "weights_are_not_all_zero", "threshold_fits"):
        assert f"[{rule}]" in str(caught.value)
    assert "\n" not in str(caught.value)
