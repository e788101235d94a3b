"""The sparse convolution gives what Lava's own fixed-point model gives, step after step, wrapping included."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lava_networks import HAS_LAVA, import_lava

from sqdr.deploy.encoders.lava.conv_matrix import conv_matrix

pytestmark = [pytest.mark.lava, pytest.mark.skipif(not HAS_LAVA, reason="needs lava-nc")]

N_STEPS = 4


@st.composite
def convs(draw):
    """Keyword arguments of a Lava Conv process, and its input at every step."""
    groups = draw(st.integers(1, 3))
    pairs = st.tuples(st.integers(1, 4), st.integers(1, 4))
    kernel, stride, dilation = draw(pairs), draw(pairs), draw(pairs)
    padding = draw(st.tuples(st.integers(0, 3), st.integers(0, 3)))
    least = [max(1, d * (k - 1) + 1 - 2 * p) for d, k, p in zip(dilation, kernel, padding, strict=True)]
    sides = tuple(draw(st.integers(size, size + 5)) for size in least)
    channels = groups * draw(st.integers(1, 2))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    # in int32, which Lava's own takes them in, sums must not overflow; beyond 2^23 both wrap them
    largest = min(draw(st.sampled_from([8, 254, 2**23])), 2**30 // (255 * kernel[0] * kernel[1] * channels))
    weight = rng.integers(-largest, largest, (groups * draw(st.integers(1, 3)), *kernel, channels // groups))
    message_bits = draw(st.sampled_from([0, 8]))
    options = {
        "weight": weight,
        "input_shape": (*sides, channels),
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "groups": groups,
        "num_message_bits": message_bits,
    }
    inputs = rng.integers(0, 256, (N_STEPS, *sides, channels))
    inputs[rng.random(inputs.shape) < draw(st.sampled_from([0.0, 0.5, 0.9]))] = 0
    return options, inputs


class Port:
    """Stands for both ports of a model, which then runs without a runtime."""

    def __init__(self, shape, steps=()):
        self.shape = shape
        self.steps = list(steps)
        self.sent = []

    def recv(self):
        return self.steps.pop(0)

    def send(self, data):
        assert data.shape == self.shape
        self.sent.append(np.array(data).astype(np.int32))  # what the channel between two processes does


def run_model(model_class, process, inputs):
    """Return what the model sends at every step."""
    model = model_class({})
    for name in (
        "kernel_size",
        "stride",
        "padding",
        "dilation",
        "groups",
        "num_message_bits",
        "weight",
    ):
        kind = np.int32 if name == "weight" else np.int8
        variable = getattr(process, name)
        setattr(model, name, np.broadcast_to(np.asarray(variable.init, kind), variable.shape).copy())
    model.a_buf = np.zeros(process.output_shape, np.int32)
    model.s_in, model.a_out = Port(inputs.shape[1:], inputs.astype(np.int32)), Port(process.output_shape)
    for _ in inputs:
        model.run_spk()
    return np.array(model.a_out.sent)


@settings(deadline=None, max_examples=200)
@given(convs())
def test_sparse_conv_model_sends_what_lavas_own_sends(drawn):
    options, inputs = drawn
    process = import_lava("lava.proc.conv.process").Conv(**options)
    stock = run_model(import_lava("lava.proc.conv.models").PyConvModelFixed, process, inputs)
    name = "sqdr.deploy.encoders.lava.processes.sparse_conv"
    fast = run_model(import_lava(name).SparseConvModel, process, inputs)
    np.testing.assert_array_equal(fast, stock)


def test_sums_wrap_around_24_bits_as_lavas_do():
    options = {"weight": np.full((1, 1, 2, 1), 2**22), "input_shape": (1, 2, 1), "num_message_bits": 8}
    process = import_lava("lava.proc.conv.process").Conv(**options)
    inputs = np.array([[[[1], [1]]], [[[2], [3]]], [[[0], [1]]]])
    name = "sqdr.deploy.encoders.lava.processes.sparse_conv"
    found = run_model(import_lava(name).SparseConvModel, process, inputs)
    # 2 * 2^22 = 2^23 is the least number of 24 bits; 5 * 2^22 is 2^24 + 2^22
    assert found.reshape(-1).tolist() == [0, -(2**23), 2**22]


def test_matrix_leaves_out_padding_and_zero_weights():
    weight = np.array([0, 3, 0]).reshape(1, 3, 1, 1)  # the middle tap of three along W
    matrix = conv_matrix(weight, (4, 2, 1), padding=(1, 0))
    assert matrix.shape == (8, 8)
    assert matrix.dtype == np.int64
    np.testing.assert_array_equal(matrix.toarray(), 3 * np.eye(8, dtype=int))
