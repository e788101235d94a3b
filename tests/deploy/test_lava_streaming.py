"""Two hundred real images streamed through Lava: not one spike may differ from SLAYER's."""

import os
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

from sqdr.coding import encode_images
from sqdr.data import Images
from sqdr.deploy.encoders.lava import LavaEncoder, LavaGraph
from sqdr.deploy.verify import verify_bundle
from sqdr.errors import DataError
from sqdr.export.to_netx import write_netx
from sqdr.plugins import load_plugin
from sqdr.specification import CodingSpec, ConvSpec, DenseSpec, EncoderSpec
from sqdr.timing import Timing
from sqdr.train.encoder.initialisation import wake_layers
from sqdr.train.encoder.presets import preset_layers
from sqdr.train.encoder.slayer import SlayerEncoder

N_SAMPLES = 200

pytestmark = [pytest.mark.lava, pytest.mark.slow]


def digits(scale: tuple[int, int] = (1, 1), crop: tuple[int, int] = (0, 0)) -> np.ndarray:
    """Digits enlarged by whole factors along (H, W), with rows and columns cut off at the end."""
    images = load_plugin("sqdr.datasets", "digits")(None).test.images[:N_SAMPLES]
    images = images.repeat(scale[0], axis=2).repeat(scale[1], axis=3)
    return np.ascontiguousarray(images[:, :, crop[0] :, crop[1] :])


def mnist() -> np.ndarray:
    try:
        test: Images = load_plugin("sqdr.datasets", "mnist10k")(None).test
    except DataError:
        pytest.skip(f"MNIST's t10k files are not in SQDR_DATA_DIR ({os.environ.get('SQDR_DATA_DIR', 'not set')})")
    return test.images[:N_SAMPLES]


CASES = {
    "mnist10k": (mnist, "tiny", CodingSpec()),
    "digits enlarged to 28x28": (lambda: digits((4, 4), (4, 4)), "tiny", CodingSpec()),
    "non-square 8x24": (lambda: digits((1, 3)), "digits_tiny", CodingSpec(n_steps=5)),
    "odd 15x7": (lambda: digits((2, 1), (1, 1)), "digits_tiny", CodingSpec(kind="bernoulli", n_steps=6)),
    "graded 4-bit": (digits, "digits_tiny", CodingSpec(kind="graded", bits=4, n_steps=4)),
    "weighted phase": (digits, "digits_tiny", CodingSpec(kind="weighted_phase", n_steps=8)),
}


# Lava's own models with every case, the faster graphs with plain spikes and with payloads.
GRAPHS = [(case, "stock") for case in CASES] + [
    (case, graph) for case in ("mnist10k", "non-square 8x24", "graded 4-bit") for graph in ("fast", "batched")
]


@pytest.mark.parametrize(("case", "graph"), GRAPHS)
def test_streamed_images_give_slayers_spikes(case: str, graph: LavaGraph, tmp_path: Path) -> None:
    make_images, preset, coding = CASES[case]
    spikes = encode_images(make_images(), coding)
    torch.manual_seed(0)
    layers = preset_layers(preset, 9)
    spec = EncoderSpec(input_shape=spikes.shape[1:4], layers=layers)
    encoder = SlayerEncoder(spec, coding.max_payload)
    wake_layers(encoder, torch.from_numpy(spikes[:64]).float(), 0.2)
    with torch.no_grad():
        expected = encoder.eval()(torch.from_numpy(spikes).float()).numpy().astype(np.uint8)
    write_netx(encoder, coding.max_payload, tmp_path / "encoder.net")
    timing = Timing(n_steps=coding.n_steps, period=coding.n_steps, n_layers=len(layers))
    with LavaEncoder(
        tmp_path / "encoder.net",
        input_shape=spec.input_shape,
        n_outputs=9,
        timing=timing,
        message_bits=coding.message_bits,
        graph=graph,
    ) as lava:
        found = lava.spike_trains(spikes)
    assert found.shape == (N_SAMPLES, 9, coding.n_steps)
    assert 0.02 < expected.mean() < 0.9
    assert (found != expected).sum() == 0


def test_strides_dilation_and_groups_over_axes_of_their_own(tmp_path: Path) -> None:
    spikes = encode_images(digits((1, 2)), CodingSpec(n_steps=4))
    spikes = np.concatenate([spikes, spikes[::-1]], axis=1)  # two channels
    layers = (
        ConvSpec(out_channels=4, kernel_size=(3, 2), stride=(1, 3), padding=(2, 1), groups=2),
        ConvSpec(out_channels=3, kernel_size=(2, 2), dilation=(3, 2)),
        DenseSpec(out_features=5),
    )
    torch.manual_seed(1)
    encoder = SlayerEncoder(EncoderSpec(input_shape=spikes.shape[1:4], layers=layers))
    wake_layers(encoder, torch.from_numpy(spikes[:64]).float(), 0.2)
    with torch.no_grad():
        expected = encoder.eval()(torch.from_numpy(spikes).float()).numpy().astype(np.uint8)
    write_netx(encoder, 1, tmp_path / "encoder.net")
    timing = Timing(n_steps=4, period=8, n_layers=3)
    for graph in get_args(LavaGraph):
        with LavaEncoder(
            tmp_path / "encoder.net", input_shape=(2, 8, 16), n_outputs=5, timing=timing, graph=graph
        ) as lava:
            assert (lava.spike_trains(spikes) != expected).sum() == 0
    assert expected.any()


def test_trained_bundle_is_verified_on_two_hundred_digits(bundle_path: Path) -> None:
    report = verify_bundle(bundle_path, n_samples=N_SAMPLES, source="digits:test")
    lava = {row.source: row for row in report.rows if row.target == "lava"}
    assert set(lava) == {"trained model", "integer"}
    assert lava["integer"].n_samples == N_SAMPLES
    assert all(row.n_different == 0 for row in lava.values())
    assert report.equal
    assert report.skipped == ()
