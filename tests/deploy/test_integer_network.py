"""A netx file becomes layers that compute what Lava computes, or a refusal that names the part at fault."""

import warnings
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from sqdr.deploy.encoders.integer import IntegerEncoder
from sqdr.deploy.encoders.integer.network import dense_weight_in_lava, integer_layers
from sqdr.errors import BundleError
from sqdr.netx import NetxLayer

pytest.importorskip("torch", reason="needs the train extra")  # the networks for tests do

from lava_networks import import_lava
from netx_networks import cuba, write_network

SHAPE = (2, 7, 5)
INPUT = NetxLayer(kind="input", shape=SHAPE)
CONV = NetxLayer(
    kind="conv",
    shape=(4, 4, 3),
    weight=np.arange(4 * 2 * 9).reshape(4, 2, 3, 3) - 30,
    stride=(2, 2),
    padding=(1, 1),
    dilation=(1, 1),
    neuron=cuba(),
)
FLATTEN = NetxLayer(kind="flatten", shape=(48,))
DENSE = NetxLayer(kind="dense", shape=(6,), weight=np.arange(6 * 48).reshape(6, 48) % 255 - 100, neuron=cuba())
LAST = NetxLayer(kind="dense", shape=(3,), weight=np.arange(18).reshape(3, 6) - 7, neuron=cuba())
NETWORK = [INPUT, CONV, FLATTEN, DENSE, LAST]

FILE_IS_WRONG = "so the network would not run as it was trained"


def changed(index: int, **values: Any) -> list[NetxLayer]:
    """The network with one block changed."""
    return [replace(layer, **values) if at == index else layer for at, layer in enumerate(NETWORK)]


def neuron(index: int, **values: Any) -> list[NetxLayer]:
    """The network with one block's neuron changed; None takes a parameter away."""
    parameters = cuba() | values
    return changed(index, neuron={key: value for key, value in parameters.items() if value is not None})


def conv_of(*size: int, **values: Any) -> list[NetxLayer]:
    return changed(1, weight=np.ones(size, np.int64), **values)


def test_the_network_itself_is_taken() -> None:
    layers = integer_layers(NETWORK)
    assert [layer.name for layer in layers] == ["layer 1 (conv)", "layer 3 (dense)", "layer 4 (dense)"]
    assert [layer.shape for layer in layers] == [(4, 4, 3), (6,), (3,)]
    assert [layer.in_shape for layer in layers] == [SHAPE, (48,), (6,)]


FULL = np.ones((6, 48), np.int64)

REFUSED: dict[str, tuple[list[NetxLayer], str]] = {
    # the network's form
    "pool": (changed(2, kind="pool"), r"layer 2 \(pool\): a 'pool' block is not supported"),
    "complex dense": (changed(3, kind="dense_comp", weight=None), r"layer 3 \(dense_comp\): a 'dense_comp' block is"),
    "recurrent": (changed(4, kind="dense_rec"), r"layer 4 \(dense_rec\): a 'dense_rec' block is not supported"),
    "input with a neuron": (changed(0, neuron=cuba()), r"layer 0 \(input\): netx does not connect an input block that"),
    "input with a weight": (changed(0, weight=np.array(64)), r"layer 0 \(input\): netx does not connect an input"),
    "input with a bias": (changed(0, bias=np.array([1])), r"layer 0 \(input\): netx does not connect an input"),
    "input without a shape": (changed(0, shape=()), r"layer 0 \(input\): it has no shape"),
    "input in second place": ([INPUT, CONV, INPUT], r"layer 2 \(input\): an input block must come first"),
    "two inputs": ([INPUT, *NETWORK], r"layer 1 \(input\): an input block must come first"),
    "missing flatten": ([INPUT, CONV, DENSE], r"layer 2 \(dense\): netx cannot connect it without a flatten block"),
    "flatten twice": ([*NETWORK[:4], FLATTEN, LAST], r"layer 4 \(flatten\): netx cannot flatten what is flat already"),
    "conv after flatten": ([INPUT, FLATTEN, CONV], r"layer 2 \(conv\): a conv cannot follow a flatten or dense block"),
    "conv after dense": ([*NETWORK, CONV], r"layer 5 \(conv\): a conv cannot follow a flatten or dense block"),
    # sizes
    "wrong declared shape": (
        changed(1, shape=(4, 3, 4)),
        r"layer 1 \(conv\): the file gives it the shape \(4, 3, 4\), its input and kernel make \(4, 4, 3\)",
    ),
    "wrong dense shape": (changed(3, shape=(7,)), r"layer 3 \(dense\): its shape \(7,\) is not that of its 6 rows"),
    "conv of three axes": (conv_of(4, 2, 9), r"layer 1 \(conv\): its weight has the shape \(4, 2, 9\), not"),
    "conv without a kernel": (conv_of(4, 2, 0, 3), r"layer 1 \(conv\): its weight has the shape \(4, 2, 0, 3\), not"),
    "conv in time": (conv_of(4, 2, 3, 3, 2), r"layer 1 \(conv\): its weight has the shape \(4, 2, 3, 3, 2\), not"),
    "channels": (conv_of(4, 3, 3, 3), r"layer 1 \(conv\): its weight takes 3 channels, its input has 2"),
    "kernel too large": (conv_of(4, 2, 3, 8), r"layer 1 \(conv\): its kernel is larger than its input"),
    "dilation too large": (changed(1, dilation=(5, 1)), r"layer 1 \(conv\): its kernel is larger than its input"),
    "stride 0": (
        changed(1, stride=(0, 2)),
        r"layer 1 \(conv\): its kernel, stride, padding or dilation is out of Lava",
    ),
    "padding -1": (
        changed(1, padding=(1, -1)),
        r"layer 1 \(conv\): its kernel, stride, padding or dilation is out of Lava",
    ),
    "dilation 0": (
        changed(1, dilation=(0,)),
        r"layer 1 \(conv\): its kernel, stride, padding or dilation is out of Lava",
    ),
    "stride beyond int8": (
        changed(1, stride=(128, 2), shape=(4, 1, 3)),
        r"layer 1 \(conv\): its kernel, stride, padding or dilation is out of Lava",
    ),
    "kernel beyond int8": (
        [NetxLayer(kind="input", shape=(2, 7, 130)), replace(CONV, weight=np.ones((4, 2, 3, 128), np.int64), shape=())],
        r"layer 1 \(conv\): its kernel, stride, padding or dilation is out of Lava's range.*Use 0 to 127",
    ),
    "stride of three": (changed(1, stride=(1, 1, 1)), r"layer 1 \(conv\): its stride \(1, 1, 1\) is not one or two"),
    "padding of three": (changed(1, padding=(1, 1, 1)), r"layer 1 \(conv\): its padding \(1, 1, 1\) is not one or two"),
    "groups of the input": (changed(1, groups=3), r"layer 1 \(conv\): 3 groups do not divide its channels"),
    "groups of the output": (conv_of(3, 1, 3, 3, groups=2), r"layer 1 \(conv\): 2 groups do not divide its channels"),
    "no groups": (changed(1, groups=0), r"layer 1 \(conv\): 0 groups do not divide its channels"),
    "dense inputs": (
        changed(3, weight=FULL[:, :47]),
        r"layer 3 \(dense\): its weight has the shape \(6, 47\), its input has 48 values",
    ),
    "dense of three axes": (changed(3, weight=FULL[None]), r"layer 3 \(dense\): its weight has the shape \(1, 6, 48\)"),
    "dense of one axis": (changed(3, weight=np.ones(289)), r"layer 3 \(dense\): its weight has the shape \(289,\)"),
    # values
    "conv without weights": (changed(1, weight=None), r"layer 1 \(conv\): it has no weights that can be read"),
    "dense without weights": (changed(3, weight=None), r"layer 3 \(dense\): it has no weights that can be read"),
    "dense weight too large": (
        changed(3, weight=FULL * 300),
        r"layer 3 \(dense\): Lava rounds its weights, which span \[300, 300\]",
    ),
    "dense weight just too large": (
        changed(3, weight=np.where(np.eye(6, 48) > 0, -1, 255)),
        r"layer 3 \(dense\): Lava rounds its weights, which span \[-1, 255\]",
    ),
    "dense weights of one sign down to a power of two": (
        changed(3, weight=-128 * np.eye(6, 48, dtype=np.int64)),
        r"layer 3 \(dense\): Lava rounds its weights, which span \[-128, 0\]",
    ),
    "sums beyond 2^24": (
        changed(1, weight=np.full((4, 2, 3, 3), 932_068)),
        r"layer 1 \(conv\): its sums can reach 16,777,224",
    ),
    "conv delays": (changed(1, delay=np.array([0, 0, 1, 0])), r"layer 1 \(conv\): netx ignores the delays of a conv"),
    "delay beyond 62": (
        changed(3, delay=np.array([0, 1, 2, 3, 4, 63])),
        r"layer 3 \(dense\): delays must be 0 to 62, got 0 to 63",
    ),
    "delay below 0": (changed(3, delay=FULL * -1), r"layer 3 \(dense\): delays must be 0 to 62, got -1 to -1"),
    "delays of another number": (
        changed(3, delay=np.array([1, 2])),
        r"layer 3 \(dense\): delays of the shape \(2,\) fit neither its outputs nor its inputs",
    ),
    "delays across": (changed(3, delay=FULL.T), r"layer 3 \(dense\): delays of the shape \(48, 6\) fit neither"),
    "bias too large": (
        changed(1, bias=np.array([0, 0, 0, 4096])),
        r"layer 1 \(conv\): biases must be -4096 to 4095, got 0 to 4096",
    ),
    "bias too low": (changed(3, bias=np.full(6, -4097)), r"layer 3 \(dense\): biases must be -4096 to 4095, got -4097"),
    "conv bias of another number": (
        changed(1, bias=np.array([1, 2, 3])),
        r"layer 1 \(conv\): biases of the shape \(3,\) do not fit \(4, 4, 3\)",
    ),
    "conv bias for each neuron as (C, H, W)": (
        changed(1, bias=np.ones((4, 4, 3), np.int64)),
        r"layer 1 \(conv\): biases of the shape \(4, 4, 3\) do not fit \(4, 4, 3\)",
    ),
    "dense bias of another number": (
        changed(4, bias=np.array([1, 2])),
        r"layer 4 \(dense\): biases of the shape \(2,\) do not fit \(3,\)",
    ),
    # neurons
    "no neuron": (changed(4, neuron=None), r"layer 4 \(dense\): it has no neuron, and netx's default one overflows"),
    "sigma-delta neuron": (neuron(1, type="SDNN"), r"layer 1 \(conv\): its neuron is 'SDNN'"),
    "neuron without a type": (neuron(1, type=None), r"layer 1 \(conv\): its neuron is None"),
    "refDelay": (neuron(1, refDelay=2), r"layer 1 \(conv\): its neuron has refDelay 2, which netx does not honour"),
    "gradedSpike": (neuron(3, gradedSpike=True), r"layer 3 \(dense\): its neuron has gradedSpike True, which netx"),
    "unknown parameter": (
        neuron(3, vThMin=3),
        r"layer 3 \(dense\): its neuron has a parameter 'vThMin', which netx does not honour",
    ),
    "threshold below 0": (neuron(1, vThMant=-1), r"layer 1 \(conv\): vThMant must be 0 to 131071, got -1 to -1"),
    "threshold beyond 17 bits": (
        neuron(1, vThMant=[1, 2, 3, 131072]),
        r"layer 1 \(conv\): vThMant must be 0 to 131071, got 1 to 131072",
    ),
    "iDecay 0": (neuron(1, iDecay=0), r"layer 1 \(conv\): iDecay must be 1 to 4096, got 0 to 0"),
    "iDecay 4097": (neuron(1, iDecay=[4097, 1, 1, 1]), r"layer 1 \(conv\): iDecay must be 1 to 4096, got 1 to 4097"),
    "vDecay -1": (neuron(3, vDecay=-1), r"layer 3 \(dense\): vDecay must be 0 to 4096, got -1 to -1"),
    "vDecay 4097": (neuron(3, vDecay=4097), r"layer 3 \(dense\): vDecay must be 0 to 4096, got 4097 to 4097"),
    "no iDecay": (neuron(3, iDecay=None), r"layer 3 \(dense\): iDecay holds values that are not integers"),
    "vDecay in words": (neuron(3, vDecay="slow"), r"layer 3 \(dense\): its neuron has no vDecay that is a number"),
    "vThMant in half": (neuron(3, vThMant=1.5), r"layer 3 \(dense\): vThMant holds values that are not integers"),
    "threshold of another number": (
        neuron(1, vThMant=[64, 64]),
        r"layer 1 \(conv\): vThMant must be one number or one for each of 4 channels",
    ),
    "decay for each neuron": (
        neuron(1, vDecay=np.full((4, 4, 3), 1).tolist()),
        r"layer 1 \(conv\): vDecay must be one number or one for each of 4 channels",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_netx_would_not_honour_is_refused_by_name(case: str) -> None:
    blocks, message = REFUSED[case]
    with pytest.raises(BundleError, match=message) as caught:
        integer_layers(blocks)
    text = str(caught.value)
    assert FILE_IS_WRONG in text
    assert text.endswith(".")
    assert text.split(FILE_IS_WRONG)[1].strip(". ")  # what to do


def test_a_refusal_reaches_whoever_reads_the_file(tmp_path: Path) -> None:
    path = write_network(tmp_path / "a.net", neuron(3, refDelay=2))
    with pytest.raises(BundleError, match=r"layer 3 \(dense\): its neuron has refDelay 2"):
        IntegerEncoder.from_netx(path)


def test_a_network_without_layers_is_refused() -> None:
    with pytest.raises(BundleError, match=r"the network has no conv or dense layer\. Export again\."):
        integer_layers([INPUT, FLATTEN])
    with pytest.raises(BundleError, match=r"the network has no conv or dense layer\. Export again\."):
        integer_layers([])


def test_the_inputs_shape_must_be_known_and_be_the_files() -> None:
    with pytest.raises(BundleError, match=r"layer 0 \(conv\): the file does not give the input's shape.*input_shape="):
        integer_layers(NETWORK[1:])
    assert len(integer_layers(NETWORK[1:], SHAPE)) == 3
    assert len(integer_layers(NETWORK, SHAPE)) == 3
    with pytest.raises(
        BundleError, match=r"layer 0 \(input\): its shape is \(2, 7, 5\), not \(2, 5, 7\)\. Give shapes"
    ):
        integer_layers(NETWORK, (2, 5, 7))
    with pytest.raises(BundleError, match=r"layer 0 \(conv\): the file gives it the shape \(4, 4, 3\)"):
        integer_layers(NETWORK[1:], (2, 5, 7))


def one_conv(weight: int, **values: Any) -> list[NetxLayer]:
    """One synapse."""
    return [
        NetxLayer(
            kind="conv",
            shape=(1, 1, 1),
            weight=np.full((1, 1, 1, 1), weight),
            stride=(1, 1),
            padding=(0, 0),
            dilation=(1, 1),
            neuron=cuba(**values),
        )
    ]


# 2^31 - 2^25: Lava's int32 holds a current below, with a voltage, a bias and one wrap of 2^24 on top
MAX_CURRENT = 2**31 - 2**25


@pytest.mark.parametrize(("payload", "n_steps", "decay"), [(1, 1000, 1), (255, 40, 100), (1, None, 3), (127, None, 50)])
def test_a_current_that_would_overflow_is_refused_and_one_below_is_not(
    payload: int, n_steps: int | None, decay: int
) -> None:
    def grown(weight: int) -> float:
        drive, current, kept = 64 * weight * payload, 0.0, 1 - decay / 4096
        if n_steps is None:
            return drive * 4096 / decay
        for _ in range(n_steps):
            current = current * kept + drive
        return current

    weight = ceil(MAX_CURRENT / grown(1)) - 1
    assert grown(weight) < MAX_CURRENT <= grown(weight + 1)
    blocks = one_conv(weight, current_decay=decay)
    assert len(integer_layers(blocks, (1, 1, 1), payload, n_steps)) == 1
    with pytest.raises(BundleError, match=r"layer 0 \(conv\): its current can reach [\d,]+, which overflows Lava's 32"):
        integer_layers(one_conv(-weight - 1, current_decay=decay), (1, 1, 1), payload, n_steps)


def test_sums_may_reach_just_below_2_to_the_24th() -> None:
    assert integer_layers(one_conv(2**24 - 1), (1, 1, 1))[0].max_sum == 2**24 - 1
    assert integer_layers(one_conv(65_793), (1, 1, 1), max_payload=255)[0].max_sum == 255 * 65_793
    for weight, payload in ((2**24, 1), (-(2**24), 1), (65_794, 255)):
        with pytest.raises(BundleError, match=r"layer 0 \(conv\): its sums can reach [\d,]+.* below 16,777,216"):
            integer_layers(one_conv(weight), (1, 1, 1), max_payload=payload)


def test_the_payload_is_the_first_layers_alone() -> None:
    layers = integer_layers(changed(1, weight=np.full((4, 2, 3, 3), 2)), SHAPE, max_payload=255)
    assert layers[0].max_sum == 18 * 2 * 255
    assert layers[1].max_sum == int(np.abs(DENSE.weight).sum(axis=1).max())  # type: ignore[arg-type]


TAKEN: dict[str, list[NetxLayer]] = {
    "without an input block's shape twice": NETWORK,
    "flatten twice before a dense": [*NETWORK[:3], FLATTEN, *NETWORK[3:]],
    "flatten at the end": [INPUT, CONV, FLATTEN],
    "conv alone": [INPUT, CONV],
    "dense first": [INPUT, replace(DENSE, weight=np.ones((6, 70), np.int64))],
    "flatten, then dense": [INPUT, FLATTEN, replace(DENSE, weight=np.ones((6, 70), np.int64))],
    "SLAYER's axis of time": changed(1, weight=CONV.weight[..., None]),  # type: ignore[index]
    "one number for both axes": changed(1, stride=(2,), padding=(1,), dilation=(1,)),
    "no stride, padding or dilation": [INPUT, replace(CONV, stride=(), padding=(), dilation=(), shape=(4, 5, 3))],
    "dense weight in one axis": changed(3, weight=DENSE.weight.reshape(-1)),  # type: ignore[union-attr]
    "no declared shapes": [replace(layer, shape=()) if layer.weight is not None else layer for layer in NETWORK],
    "the other name of the neuron": neuron(1, type="LOIHI"),
    "message bits": neuron(1, messageBits=8),
    "lowest of all": neuron(1, iDecay=1, vDecay=0, vThMant=0),
    "highest of all": neuron(1, iDecay=4096, vDecay=4096, vThMant=131071),
    "one a channel": neuron(1, iDecay=[1, 2, 3, 4096], vDecay=[0, 1, 2, 4096], vThMant=[0, 1, 2, 131071]),
    "decays as floats": neuron(1, iDecay=4096.0, vDecay=[410.0]),
    "lowest and highest bias": changed(1, bias=np.array([-4096, 4095, 0, 0])),
    "bias for each neuron as (W, H, C)": changed(1, bias=np.ones((3, 4, 4), np.int64)),
    "one bias for all of a dense": changed(3, bias=np.array([7])),
    "longest delay": changed(3, delay=np.array([0, 0, 0, 0, 0, 62])),
    "delay of each input": changed(3, delay=np.arange(48)),
    "one delay": changed(3, delay=np.array(5)),
    "no delays of a conv": changed(1, delay=np.zeros(4, np.int64)),
    "127 groups": [
        NetxLayer(kind="input", shape=(127, 1, 1)),
        replace(CONV, weight=np.ones((127, 1, 1, 1), np.int64), shape=(), groups=127, padding=(0, 0)),
    ],
    "all weights zero": changed(3, weight=np.zeros((6, 48), np.int64)),
}


@pytest.mark.parametrize("case", TAKEN)
def test_what_netx_honours_is_taken(case: str) -> None:
    assert integer_layers(TAKEN[case], n_steps=8)


def lavas_dense_weight(weight: NDArray[np.int64]) -> NDArray[np.int64]:
    """What reaches the neuron from each synapse in netx and Lava's own code."""
    netx, synapse = import_lava("lava.lib.dl.netx.utils"), import_lava("lava.utils.weightutils")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it divides by a greatest weight of 0
        optimized, n_bits, exponent, _ = netx.optimize_weight_bits(weight)  # netx drops the sign mode
    mode = synapse.determine_sign_mode(optimized)
    held = synapse.truncate_weights(synapse.clip_weights(optimized, mode, num_bits=8), mode, n_bits)
    # lava/proc/dense/models.py AbstractPyDenseModelBitAcc.run_spk, on what one spike adds up to
    shifted: NDArray[np.int64] = np.left_shift(held, exponent) if exponent > 0 else np.right_shift(held, -exponent)
    return shifted


def assert_as_in_lava(weight: NDArray[np.int64]) -> None:
    expected = lavas_dense_weight(weight)
    assert np.array_equal(dense_weight_in_lava(weight), expected), (weight.tolist(), expected.tolist())


RANGES = st.sampled_from(
    [(-256, 254), (-300, 300), (0, 300), (-300, 0), (-1, 256), (-5, 5), (-128, 127), (-1000, 1000)]
)


@st.composite
def weights(draw: st.DrawFn) -> NDArray[np.int64]:
    low, high = draw(RANGES)
    step = draw(st.sampled_from([1, 1, 2, 4, 64]))
    size = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    values = draw(arrays(np.int64, size, elements=st.integers(-(-low // step), high // step)))
    return step * values


@given(weight=weights())
@example(weight=np.array([[-128, 0]]))
@example(weight=np.array([[-128, -1]]))
@example(weight=np.array([[-256, 0]]))
@example(weight=np.array([[-255, -1]]))
@example(weight=np.array([[-256, 254]]))
@example(weight=np.array([[255, 0]]))
@example(weight=np.array([[256, 0]]))
@example(weight=np.array([[255, -1]]))
@example(weight=np.array([[-257, 1]]))
@example(weight=np.array([[-257, 0]]))
@example(weight=np.array([[64, 128]]))
def test_dense_weights_become_what_lava_makes_of_them(weight: NDArray[np.int64]) -> None:
    if weight.any():  # netx divides by zero otherwise
        assert_as_in_lava(weight)


def test_all_pairs_of_least_and_greatest_weight_become_what_lava_makes_of_them() -> None:
    n_kept = 0
    for low in range(-260, 261, 3):
        for high in range(low, 261, 3):
            if low or high:
                weight = np.array([[low, high]])
                assert_as_in_lava(weight)
                n_kept += np.array_equal(dense_weight_in_lava(weight), weight)
    assert n_kept > 5_000


def test_dense_weights_of_zeros_stay() -> None:
    weight = np.zeros((2, 3), np.int64)
    assert np.array_equal(dense_weight_in_lava(weight), weight)


@given(weight=arrays(np.int64, (3, 4), elements=st.integers(-128, 127).map(lambda half: 2 * half)))
def test_slayers_weights_stay_unless_all_are_of_one_sign_down_to_a_power_of_two(weight: NDArray[np.int64]) -> None:
    low = -int(weight.min())
    if weight.max() > 0 or low & (low - 1):
        assert np.array_equal(dense_weight_in_lava(weight), weight)
