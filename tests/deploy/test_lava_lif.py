"""The lighter neuron has the states and spikes of Lava's own fixed-point model, step after step, wrapping included."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lava_networks import HAS_LAVA, import_lava

pytestmark = [pytest.mark.lava, pytest.mark.skipif(not HAS_LAVA, reason="needs lava-nc")]

N_STEPS = 12


@st.composite
def neurons(draw):
    """The variables of a Lava LIFReset process, its parameters, and its input at every step."""
    shape = draw(st.sampled_from([(5,), (2, 3, 4)]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))

    def decay(low):
        if draw(st.booleans()):
            return draw(st.sampled_from([low, 0, 409, 4094, 4095, 4096 + low]))
        return rng.integers(low, 4097 + low, shape[-1])  # one a channel

    # in the hardware's 8 bits of a weight, about Lava's 24 bits, and beyond the 32 that it computes in
    largest = draw(st.sampled_from([10, 2**12, 2**17, 2**23, 2**30]))
    largest_bias = draw(st.sampled_from([0, 20, 4095]))
    variables = {
        "du": decay(-1),
        "dv": decay(0),
        "vth": draw(st.sampled_from([0, 1, 500, 131071])),
        "bias_mant": rng.integers(-largest_bias, largest_bias + 1, shape).astype(np.int16),
        "bias_exp": np.full(shape, draw(st.sampled_from([-2, 0, 6])), np.int16),
    }
    interval = draw(st.integers(1, N_STEPS + 1))
    parameters = {"reset_interval": interval, "reset_offset": draw(st.integers(0, 2 * interval))}
    inputs = rng.integers(-largest, largest + 1, (N_STEPS, *shape)).astype(np.int32)
    inputs[rng.random(inputs.shape) < draw(st.sampled_from([0.0, 0.5, 0.9]))] = 0
    return variables, parameters, inputs


def run_model(model_class, variables, parameters, inputs):
    """Return the model's states after every step, and what it sends."""
    model = model_class(parameters)
    for name, value in variables.items():
        setattr(model, name, value)
    model.u, model.v = np.zeros(inputs.shape[1:], np.int32), np.zeros(inputs.shape[1:], np.int32)
    u_variable = model.u
    steps, sent, u, v = list(inputs), [], [], []
    model.a_in = SimpleNamespace(recv=lambda: steps.pop(0).copy())
    model.s_out = SimpleNamespace(send=lambda data: sent.append(data.copy()))
    for step in range(len(inputs)):
        model.time_step = step + 1
        model.run_spk()
        u.append(model.u.copy())
        v.append(model.v.copy())
    assert model.u is u_variable
    return np.array(u), np.array(v), np.array(sent)


@settings(deadline=None, max_examples=300)
@given(neurons())
def test_own_model_has_the_states_and_spikes_of_lavas(drawn):
    stock = run_model(import_lava("lava.proc.lif.models").PyLifResetModelBitAcc, *drawn)
    own = run_model(import_lava("sqdr.deploy.encoders.lava.processes.lif_reset").LifResetModel, *drawn)
    for found, expected in zip(own, stock, strict=True):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("drive", "current"), [(2**17, 2**23), (2**17 + 1, 64 - 2**23), (-(2**17), 2**23), (1 - 2**17, 64 - 2**23)]
)
def test_current_wraps_around_24_bits_as_lavas_does(drive, current):
    variables = {
        "du": 4095,
        "dv": 0,
        "vth": 131071,
        "bias_mant": np.zeros(1, np.int16),
        "bias_exp": np.zeros(1, np.int16),
    }
    inputs = np.full((1, 1), drive, np.int32)
    model = import_lava("sqdr.deploy.encoders.lava.processes.lif_reset").LifResetModel
    u, _, _ = run_model(model, variables, {"reset_interval": 4, "reset_offset": 2}, inputs)
    assert u.item() == current


def test_variable_that_is_set_counts_from_the_next_step():
    model = import_lava("sqdr.deploy.encoders.lava.processes.lif_reset").LifResetModel(
        {"reset_interval": 8, "reset_offset": 7}
    )
    model.du, model.dv, model.vth = 4095, 0, 100
    model.bias_mant, model.bias_exp = np.array([3], np.int16), np.array([6], np.int16)
    model.u, model.v = np.zeros(1, np.int32), np.zeros(1, np.int32)
    model.a_in = SimpleNamespace(recv=lambda: np.zeros(1, np.int32))
    model.s_out = SimpleNamespace(send=lambda data: None)
    model.run_spk()
    assert model.v == [3 * 64]
    model.bias_mant, model.dv = np.array([5], np.int16), 2048
    model.on_var_update()
    model.run_spk()
    assert model.v == [3 * 32 + 5 * 64]
