"""Ranges and spike rates against a neuron-by-neuron reference, and what is made of them."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sqdr.bundle import Bundle
from sqdr.calibration import Calibration, LayerRange, headroom_bits
from sqdr.coding import encode_images
from sqdr.deploy.encoders.integer import IntegerEncoder
from sqdr.deploy.encoders.integer.network import dense_weight_in_lava, integer_layers
from sqdr.errors import ConfigError, DataError, ExportError, ShapeError
from sqdr.export import calibration as module
from sqdr.export.calibration import Finding, calibrate, check_calibration, findings
from sqdr.export.network import Network
from sqdr.export.rules_states import state_bounds
from sqdr.netx import NetxLayer

CHANNELS, FEATURES, SIDE, KERNEL = 2, 3, 3, 2
INPUT_SHAPE = (1, SIDE, SIDE)


def network(
    conv: np.ndarray, dense: np.ndarray, *, threshold: Any = 64, bias: Any = None, **decays: Any
) -> list[NetxLayer]:
    """A 2 x 2 convolution of a 3 x 3 image, and a dense layer behind it; neurons are those of both."""
    neuron = {"type": "CUBA", "iDecay": 4096, "vDecay": 410, "vThMant": threshold, "refDelay": 1, "gradedSpike": False}
    neuron |= decays
    return [
        NetxLayer(
            kind="conv",
            shape=(CHANNELS, 2, 2),
            weight=conv.reshape(CHANNELS, 1, KERNEL, KERNEL),
            stride=(1, 1),
            padding=(0, 0),
            dilation=(1, 1),
            neuron=neuron,
            bias=bias,
        ),
        NetxLayer(kind="flatten", shape=(CHANNELS * 4, 1, 1)),
        NetxLayer(kind="dense", shape=(FEATURES,), weight=dense.reshape(FEATURES, -1), neuron=neuron),
    ]


def encoder_of(layers: list[NetxLayer], n_steps: int | None = None, **options: Any) -> IntegerEncoder:
    return IntegerEncoder(integer_layers(layers, INPUT_SHAPE, n_steps=n_steps), n_steps=n_steps, **options)


def random_spikes(n_samples: int, n_steps: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2, (n_samples, *INPUT_SHAPE, n_steps)).astype(np.uint8)


def reference(layers: list[NetxLayer], spikes: np.ndarray) -> list[dict[str, Any]]:
    """Every neuron on its own in Python's integers, with the voltage before each reset."""
    conv, _, dense = layers
    assert conv.weight is not None
    assert dense.weight is not None
    found: list[dict[str, Any]] = [{"u": [], "v": [], "counts": []} for _ in range(2)]
    inputs = spikes.astype(int)
    sums = np.zeros((len(spikes), CHANNELS, 2, 2, spikes.shape[-1]), int)
    for c, y, x in np.ndindex(CHANNELS, 2, 2):
        window = inputs[:, 0, y : y + KERNEL, x : x + KERNEL]
        sums[:, c, y, x] = (window * conv.weight[c, 0][None, :, :, None]).sum(axis=(1, 2))
    fired = sums_to_spikes(sums, conv, found[0])
    sums = np.einsum("fi,nit->nft", dense.weight, fired.reshape(len(spikes), -1, spikes.shape[-1]))
    sums_to_spikes(sums, dense, found[1])
    return found


def sums_to_spikes(sums: np.ndarray, layer: NetxLayer, found: dict[str, Any]) -> np.ndarray:
    assert layer.neuron is not None
    fired = np.zeros_like(sums)
    for sample in range(len(sums)):
        for place in np.ndindex(*sums.shape[1:-1]):
            bias = 0 if layer.bias is None else int(layer.bias[place[0]]) * 64
            decays = [np.broadcast_to(layer.neuron[key], len(layer.weight))[place[0]] for key in ("iDecay", "vDecay")]
            threshold = int(np.broadcast_to(layer.neuron["vThMant"], len(layer.weight))[place[0]]) * 64
            u = v = 0
            for t, value in enumerate(sums[(sample, *place)]):
                u = int(u * (4096 - int(decays[0])) / 4096) + int(value) * 64
                v = int(v * (4096 - int(decays[1])) / 4096) + u + bias
                found["u"].append(abs(u))
                found["v"].append(abs(v))
                fired[(sample, *place, t)] = v > threshold
                v = 0 if v > threshold else v
    found["counts"] = fired.sum(axis=(0, -1))
    return fired


weights = st.integers(-127, 127).map(lambda value: 2 * value)


@settings(max_examples=80)
@given(
    conv=st.lists(weights, min_size=8, max_size=8),
    dense=st.lists(weights, min_size=24, max_size=24),
    threshold=st.integers(1, 400) | st.just(131071),
    i_decay=st.integers(1, 4096) | st.just(4096),
    v_decay=st.integers(0, 4096),
    bias=st.none() | st.lists(st.integers(-300, 300), min_size=2, max_size=2),
    n_steps=st.integers(1, 5),
    n_samples=st.integers(1, 4),
    seed=st.integers(0, 99),
)
def test_ranges_are_those_of_every_neuron_on_its_own(
    conv, dense, threshold, i_decay, v_decay, bias, n_steps, n_samples, seed
) -> None:
    # the reference divides floats: exact below 2^53, and the states of so small a network stay below 2^23
    assume(np.array_equal(dense_weight_in_lava(np.array(dense)), dense))
    layers = network(
        np.array(conv),
        np.array(dense),
        threshold=threshold,
        bias=None if bias is None else np.array(bias),
        iDecay=i_decay,
        vDecay=v_decay,
    )
    spikes = random_spikes(n_samples, n_steps, seed)
    calibration = calibrate(encoder_of(layers), spikes)
    assert calibration.n_samples == n_samples
    bounds = {index: (current, voltage) for index, current, voltage in state_bounds(Network(layers, (1,) * n_steps))}
    for layer, expected, place in zip(calibration.layers, reference(layers, spikes), (0, 2), strict=True):
        counts = expected["counts"]
        assert layer.layer == f"layer {place} ({layers[place].kind})"
        assert layer.max_abs_current == max(expected["u"]) <= bounds[place][0]
        assert layer.max_abs_voltage == max(expected["v"])
        assert layer.n_neurons == counts.size
        assert layer.spike_rate == counts.sum() / (counts.size * n_samples * n_steps)
        assert layer.n_silent == (counts == 0).sum()
        assert layer.n_saturated == (counts == n_samples * n_steps).sum()


def test_voltage_of_a_neuron_that_always_spikes_is_the_one_before_its_reset() -> None:
    layers = network(np.full(8, 100), np.full(24, 20), threshold=[1, 2])
    layers[2] = network(np.full(8, 2), np.full(24, 20))[2]
    encoder = encoder_of(layers)
    spikes = np.ones((1, *INPUT_SHAPE, 3), np.uint8)
    assert not encoder.trace(spikes)[0].voltage.any()
    first = calibrate(encoder, spikes).layers[0]
    assert (first.max_abs_voltage, first.max_abs_current) == (400 * 64, 400 * 64)
    assert first.n_saturated == first.n_neurons == 8


def test_bias_of_each_neuron_is_counted_at_its_own_place() -> None:
    bias = np.arange(8).reshape(2, 2, CHANNELS) * 10  # netx has one a neuron as (W, H, C)
    layers = network(np.full(8, 2), np.full(24, 20), threshold=131071, bias=bias)
    first = calibrate(encoder_of(layers), np.zeros((1, *INPUT_SHAPE, 1), np.uint8)).layers[0]
    assert (first.max_abs_current, first.max_abs_voltage) == (0, 70 * 64)


def test_batches_threads_and_order_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(5)
    layers = network(2 * generator.integers(-60, 90, 8), 2 * generator.integers(-60, 90, 24), iDecay=2000)
    spikes = random_spikes(50, 4)
    whole = calibrate(encoder_of(layers), spikes)
    assert 0 < whole.layers[1].spike_rate < 1
    sizes = []
    trace = IntegerEncoder.trace

    def spy(self: IntegerEncoder, part: np.ndarray) -> Any:
        sizes.append(len(part))
        return trace(self, part)

    monkeypatch.setattr(IntegerEncoder, "trace", spy)
    # 11 neurons, 4 steps, 64 bytes for each: three samples a batch
    monkeypatch.setattr(module, "BATCH_BYTES", 3 * 11 * 4 * module.BYTES_PER_STEP)
    assert calibrate(encoder_of(layers, n_threads=2), spikes[::-1]) == whole
    assert sizes == [3] * 16 + [2]
    monkeypatch.setattr(module, "BATCH_BYTES", 1)
    assert calibrate(encoder_of(layers), spikes[:3]).n_samples == 3
    assert sizes[-3:] == [1, 1, 1]


def test_headroom_counts_from_the_hardwares_bits() -> None:
    layers = network(np.full(8, 100), np.full(24, 20))
    spikes = np.ones((1, *INPUT_SHAPE, 1), np.uint8)
    for state_bits in (24, 20, 16):
        first = calibrate(encoder_of(layers), spikes, state_bits).layers[0]
        assert first.max_abs_current == 25_600  # 2^14.6
        assert first.bits_current == first.bits_voltage == state_bits - 1 - 15
    blank = calibrate(encoder_of(layers), np.zeros_like(spikes), 16).layers[0]
    assert blank.bits_current == 15
    for state_bits in range(2, 25):  # the last value that fits, and the first that does not
        limit = 1 << (state_bits - 1)
        assert [module._headroom(value, state_bits) for value in (limit - 1, limit)] == [0, -1]


@pytest.mark.parametrize("state_bits", [0, 25, -1])
def test_state_bits_beyond_the_runtimes_are_refused(state_bits: int) -> None:
    with pytest.raises(ConfigError, match="`state_bits` must be 1 to 24"):
        calibrate(encoder_of(network(np.full(8, 2), np.full(24, 2))), random_spikes(1, 2), state_bits)


def test_samples_that_are_none_or_not_the_encoders_are_refused() -> None:
    encoder = encoder_of(network(np.full(8, 2), np.full(24, 2)), n_steps=2)
    with pytest.raises(DataError, match="holds no samples"):
        calibrate(encoder, random_spikes(0, 2))
    with pytest.raises(ShapeError, match="must be"):
        calibrate(encoder, random_spikes(2, 3))


# --- what is made of them ---


def test_silent_layer_is_refused_and_named_alone() -> None:
    layers = network(np.full(8, 2), np.full(24, 20), threshold=1000)
    calibration = calibrate(encoder_of(layers), random_spikes(20, 3))
    assert [layer.n_silent for layer in calibration.layers] == [8, 3]
    found = findings(calibration)
    # the dense layer is silent because the conv is
    assert [finding.layer for finding in found] == ["layer 0 (conv)"]
    with pytest.raises(ExportError, match=r"layer 0 \(conv\): no neuron spiked over 20 .*Lower encoder.neuron.thresh"):
        check_calibration(calibration)


def test_saturated_layer_is_refused() -> None:
    layers = network(np.full(8, 2), np.full(24, 20), bias=np.array([90, 90]))
    calibration = calibrate(encoder_of(layers), random_spikes(20, 3))
    assert calibration.layers[0].n_saturated == 8
    with pytest.raises(
        ExportError, match=r"layer 0 \(conv\): every neuron spiked at every step .*Raise encoder.neuron"
    ):
        check_calibration(calibration)


@pytest.mark.parametrize(("n_samples", "is_fatal"), [(31, False), (32, True), (400, True)])
def test_layer_of_silent_and_saturated_neurons_only_is_refused_on_enough_samples(n_samples, is_fatal) -> None:
    layers = network(np.full(8, 2), np.full(24, 20), bias=np.array([90, -90]))
    calibration = calibrate(encoder_of(layers), random_spikes(n_samples, 3))
    (found,) = [finding for finding in findings(calibration) if finding.layer == "layer 0 (conv)"]
    assert "4 of 8 neurons never spiked and all others at every step" in found.problem
    assert found.is_fatal == is_fatal


def layer_range(name: str = "layer 0 (conv)", **changes: Any) -> LayerRange:
    values: dict[str, Any] = {"max_abs_current": 100, "max_abs_voltage": 100, "spike_rate": 0.2} | {
        "n_silent": 0,
        "n_saturated": 0,
        "n_neurons": 20,
    }
    values |= changes
    bits = {f"bits_{state}": headroom_bits(values[f"max_abs_{state}"]) for state in ("current", "voltage")}
    return LayerRange(layer=name, **bits, **values)


def test_sound_ranges_have_no_findings() -> None:
    calibration = Calibration(n_samples=100, layers=(layer_range(n_silent=17), layer_range(n_saturated=17)))
    assert findings(calibration) == []
    assert check_calibration(calibration) == ()


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"n_silent": 18}, "18 of 20 neurons never spiked over 100 calibration samples. Lower"),
        ({"n_silent": 18, "n_saturated": 1}, "18 of 20 neurons never spiked"),
        ({"n_saturated": 18}, "18 of 20 neurons spiked at every step over 100 calibration samples. Raise"),
        ({"max_abs_current": 1 << 22}, "its current reached 4,194,304, which leaves 0 bits of headroom; .* Use fewer"),
        ({"max_abs_voltage": 1 << 22}, "its voltage reached 4,194,304"),
        ({"max_abs_voltage": 1 << 24}, "its voltage reached 16,777,216, which leaves -2 bits"),
    ],
)
def test_partial_finding_is_a_warning_in_one_line(changes: dict[str, Any], match: str) -> None:
    calibration = Calibration(n_samples=100, layers=(layer_range(), layer_range("layer 2 (dense)", **changes)))
    (warning,) = check_calibration(calibration)
    assert re.match(rf"layer 2 \(dense\): {match}", warning)
    assert "\n" not in warning


def test_one_bit_of_headroom_is_enough() -> None:
    calibration = Calibration(n_samples=100, layers=(layer_range(max_abs_current=(1 << 22) - 1),))
    assert calibration.layers[0].bits_current == 1
    assert findings(calibration) == []


def test_fatal_finding_lists_the_warnings_too() -> None:
    layers = (layer_range(max_abs_current=1 << 22), layer_range("layer 2 (dense)", n_silent=20))
    with pytest.raises(ExportError, match=r"layer 0 .*its current reached.*layer 2 \(dense\): no neuron spiked"):
        check_calibration(Calibration(n_samples=100, layers=layers))


def test_near_overflow_is_measured_on_a_made_network() -> None:
    # 4 taps of 254 kept for long without decay: 254 * 4 * 64 * 127 steps is 2^22.98, all in the current
    layers = network(np.full(8, 254), np.full(24, 2), threshold=131071, iDecay=1, vDecay=4096)
    spikes = np.ones((1, *INPUT_SHAPE, 130), np.uint8)
    first = calibrate(encoder_of(layers), spikes).layers[0]
    assert 1 << 22 < first.max_abs_current < 1 << 23
    warned = [str(finding) for finding in findings(Calibration(n_samples=1, layers=(first,)))]
    assert any("its current reached" in text and "leaves 0 bits" in text for text in warned)


def test_finding_is_one_line() -> None:
    assert str(Finding("layer 0 (conv)", "it is.", "Do.")) == "layer 0 (conv): it is. Do."


def test_trained_bundle_is_sound(bundle_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (64, 1, 8, 8)).astype(np.uint8)
    with Bundle.open(bundle_path) as bundle:
        coding, golden = bundle.manifest.model.coding, bundle.golden()
        encoder = IntegerEncoder.from_bundle(bundle)
    for samples in (golden.images, images):
        calibration = calibrate(encoder, encode_images(samples, coding))
        assert len(calibration.layers) == 4
        for layer in calibration.layers:
            assert 0 < layer.spike_rate < 1
            # the rules bound these states for any image; in use they are far below
            assert layer.bits_current >= 3
            assert layer.bits_voltage >= 3
        assert not any(finding.is_fatal for finding in findings(calibration))
