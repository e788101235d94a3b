"""One test per rule: a sound network, then the same with one thing wrong."""

from dataclasses import replace

import numpy as np
import pytest

from sqdr.errors import ExportError
from sqdr.export.rules import RULES, Network, check_rules, violations
from sqdr.netx import NetxLayer

NEURON = {"type": "CUBA", "iDecay": 4096, "vDecay": 410, "vThMant": 64, "refDelay": 1, "gradedSpike": False}
CONV = NetxLayer(
    kind="conv", shape=(2, 3, 3), weight=np.full((2, 1, 3, 3), 2), stride=(1, 1), padding=(0, 0), neuron=NEURON
)
FLATTEN = NetxLayer(kind="flatten", shape=(18, 1, 1))
DENSE = NetxLayer(kind="dense", shape=(4,), weight=np.full((4, 18), -4), neuron=NEURON)
SOUND = [CONV, FLATTEN, DENSE]


def neuron(**changes) -> dict:
    return {"neuron": NEURON | changes}


BROKEN = {
    "layer_kind_is_supported": [replace(FLATTEN, kind=kind) for kind in ("pool", "convT", "unpool", "average", "x")],
    "layer_has_neuron": [replace(DENSE, neuron=None), replace(CONV, neuron=None)],
    "neuron_is_cuba": [replace(DENSE, **neuron(type="ALIF"))],
    "dense_weight_fits": [replace(DENSE, weight=np.full((4, 18), value)) for value in (256, -258)],
    "conv_weight_fits": [replace(CONV, weight=np.full((2, 1, 3, 3), value)) for value in (256, -258)],
    "weight_is_even": [replace(CONV, weight=np.full((2, 1, 3, 3), 3))],
    "weights_are_not_all_zero": [replace(DENSE, weight=np.zeros((4, 18), int))],
    "threshold_fits": [replace(DENSE, **neuron(vThMant=value)) for value in (131072, 0)],
    "decay_fits": [replace(DENSE, **neuron(vDecay=value)) for value in (4097, -1)]
    + [replace(DENSE, **neuron(iDecay=value)) for value in (4097, 0)],
    "bias_fits": [replace(DENSE, bias=np.array([0, -4096, 0, 0]))],
    "delay_fits": [replace(CONV, delay=np.ones(2, int)), replace(DENSE, delay=np.full(4, 63))],
    "groups_fit": [replace(CONV, groups=128), replace(CONV, groups=0)],
}


def test_sound_network_breaks_no_rule() -> None:
    assert violations(Network(SOUND)) == []
    # values at the limits are inside
    at_limits = replace(
        DENSE, weight=np.array([[-256, 254]]), bias=np.array([4095]), delay=np.array([62]), **neuron(vThMant=131071)
    )
    assert violations(Network([CONV, FLATTEN, at_limits])) == []


@pytest.mark.parametrize("rule", sorted(BROKEN))
def test_rule_names_the_layer_and_what_to_change(rule: str) -> None:
    assert BROKEN[rule]
    for broken in BROKEN[rule]:
        place = {"conv": 0, "flatten": 1, "dense": 2}.get(broken.kind, 1)
        network = [broken if index == place else layer for index, layer in enumerate(SOUND)]
        found = [violation for violation in violations(Network(network)) if violation.rule == rule]
        assert [violation.layer for violation in found] == [f"layer {place} ({broken.kind})"]
        assert found[0].problem
        assert found[0].fix


def test_network_that_begins_flat_is_refused() -> None:
    assert {violation.rule for violation in violations(Network([FLATTEN, DENSE]))} == {"network_begins_with_conv"}
    assert "network_begins_with_conv" in {violation.rule for violation in violations(Network([]))}


def test_every_rule_has_a_test() -> None:
    assert {rule.__name__ for rule in RULES} == set(BROKEN) | {
        "network_begins_with_conv",
        "current_stays_in_24_bits",
        "voltage_stays_in_24_bits",
        "shape_is_the_models",
    }


def test_shape_with_its_axes_mixed_up_is_refused() -> None:
    shapes = ((2, 3, 3), (4,))
    assert violations(Network(SOUND, shapes=shapes)) == []
    mixed = [replace(CONV, shape=(3, 3, 2)), FLATTEN, DENSE]
    assert [(v.rule, v.layer) for v in violations(Network(mixed, shapes=shapes))] == [
        ("shape_is_the_models", "layer 0 (conv)")
    ]


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
    ],
)
def test_state_that_leaves_24_bits_is_refused(rows, payload, changes, n_steps, expected) -> None:
    weight = np.full((1, 1, abs(rows), 1), 254)
    if rows < 0:
        weight[0, 0, 1::2] *= -1
    layer = replace(CONV, weight=weight, neuron=NEURON | {"vDecay": 4096} | changes)
    assert {found.rule for found in violations(Network([layer], (payload,) * n_steps))} == expected


def test_all_violations_are_listed_at_once() -> None:
    network = [replace(CONV, groups=200), FLATTEN, replace(DENSE, weight=np.zeros((4, 18), int), **neuron(vThMant=0))]
    with pytest.raises(ExportError, match="groups_fit.*layer 0") as caught:
        check_rules(Network(network))
    for rule in ("groups_fit", "weights_are_not_all_zero", "threshold_fits"):
        assert f"[{rule}]" in str(caught.value)
    assert "\n" not in str(caught.value)
