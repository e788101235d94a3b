import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sqdr.coding import encode_images
from sqdr.errors import TrainingError
from sqdr.specification import CodingSpec, ConvSpec, DenseSpec, EncoderSpec, NeuronSpec
from sqdr.train.data.digits import load
from sqdr.train.encoder.initialisation import wake_layers
from sqdr.train.encoder.presets import PRESETS, preset_layers
from sqdr.train.encoder.slayer import SlayerEncoder
from sqdr.train.joint import n_trained_parameters

# published with the presets: parameters of encoder and head together are below these
LIMITS = {"tiny": 750, "small": 8000, "base": 45000}


def spec(input_shape=(1, 8, 8), layers=None, **options) -> EncoderSpec:
    layers = layers or preset_layers("digits_small", 9)
    return EncoderSpec(input_shape=input_shape, layers=layers, **options)


@pytest.fixture(scope="module")
def digits() -> torch.Tensor:
    return torch.from_numpy(encode_images(load().train.images[:64], CodingSpec())).float()


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(5, 12),
    width=st.integers(5, 12),
    channels=st.integers(1, 3),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.integers(1, 3),
    padding=st.integers(0, 2),
    dilation=st.integers(1, 2),
)
def test_shapes_of_the_specification_are_slayers(height, width, channels, kernel, stride, padding, dilation) -> None:
    chosen = ConvSpec(out_channels=2, kernel_size=kernel, stride=stride, padding=padding, dilation=dilation)
    reach = max(dilation * (k - 1) + 1 for k in kernel)
    if reach > min(height, width) + 2 * padding:
        with pytest.raises(ValueError, match="the kernel spans"):
            spec((channels, height, width), (chosen, DenseSpec(out_features=3)))
        return
    made = spec((channels, height, width), (chosen, DenseSpec(out_features=3)))
    encoder = SlayerEncoder(made)
    trains = encoder.layer_spikes(torch.ones(2, channels, height, width, 4))
    assert [tuple(train.shape[1:-1]) for train in trains] == made.shapes


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("preset", ["digits_tiny", "digits_small", "digits_base"])
def test_no_layer_and_hardly_a_channel_is_silent_after_waking(preset, seed, digits) -> None:
    torch.manual_seed(seed)
    encoder = SlayerEncoder(spec(layers=preset_layers(preset, 9)))
    asleep = [train.mean().item() for train in encoder.layer_spikes(digits)]
    rates = wake_layers(encoder, digits, 0.1)
    trains = encoder.layer_spikes(digits)
    assert rates == pytest.approx([train.mean().item() for train in trains])
    assert min(rates) > 0.05, (asleep, rates)
    quiet = [(train.transpose(0, 1).flatten(1).mean(1) == 0).float().mean().item() for train in trains]
    assert max(quiet) < 0.2


@pytest.mark.parametrize("preset", ["tiny", "small", "base"])
def test_no_layer_is_silent_after_waking_on_28x28(preset, digits) -> None:
    torch.manual_seed(0)
    images = digits[:32].repeat_interleave(4, 2).repeat_interleave(4, 3)[:, :, 2:30, 2:30]
    encoder = SlayerEncoder(spec((1, 28, 28), preset_layers(preset, 9)))
    assert min(wake_layers(encoder, images, 0.05)) > 0.02


def test_waking_keeps_weights_inside_the_range_that_learns(digits) -> None:
    torch.manual_seed(0)
    encoder = SlayerEncoder(spec(layers=preset_layers("digits_tiny", 9)))
    wake_layers(encoder, digits, 0.3)
    for block in encoder.layers():
        direction, length = block.synapse.weight_v, block.synapse.weight_g
        norm = direction.flatten(1).norm(dim=1).reshape(length.shape)
        assert (direction * length / norm).abs().max() < 4


def test_waking_says_so_when_no_scale_helps(digits) -> None:
    encoder = SlayerEncoder(spec(neuron=NeuronSpec(threshold=2000.0)))
    with pytest.raises(TrainingError, match="layer 0 stays silent at any weight scale. Lower encoder.neuron.threshold"):
        wake_layers(encoder, digits, 0.1)


def test_decays_are_never_trained() -> None:
    encoder = SlayerEncoder(spec())
    encoder(torch.ones(2, 1, 8, 8, 4)).sum().backward()
    names = [name for name, parameter in encoder.named_parameters() if parameter.grad is not None]
    assert names
    assert not any("decay" in name for name in names)


def test_every_layer_learns(digits) -> None:
    torch.manual_seed(0)
    encoder = SlayerEncoder(spec())
    wake_layers(encoder, digits, 0.1)
    (encoder(digits).mean(-1) ** 2).sum().backward()
    gradients = [block.synapse.weight_v.grad.abs().max().item() for block in encoder.layers()]
    # Adam's epsilon is 1e-8: below it a layer stands still (measured 2e-12 with SLAYER's default surrogate)
    assert min(gradients) > 1e-6


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_presets_build_and_stay_below_their_size(name: str) -> None:
    shape = (1, 8, 8) if name.startswith("digits") else (1, 28, 28)
    n_features = 9 if name == "tiny" else 27
    encoder = SlayerEncoder(spec(shape, preset_layers(name, n_features)))
    head = 2 * 9 * 3 + 10 * 9 + 10
    if name in LIMITS:
        assert n_trained_parameters(encoder) + head <= LIMITS[name]


def test_graded_input_raises_the_first_threshold_only() -> None:
    encoder = SlayerEncoder(spec(), max_payload=255)
    assert [block.neuron.threshold for block in encoder.layers()] == [255.0, 1.0, 1.0, 1.0]
