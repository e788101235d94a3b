"""Spike codings against their equations in exact fractions, and what is refused as an image."""

import hashlib
from fractions import Fraction
from math import floor, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sqdr.coding import check_images, encode_images, spike_table
from sqdr.errors import DataError, ShapeError
from sqdr.specification import CodingSpec

HALF = Fraction(1, 2)
KINDS = ("rate", "bernoulli", "thermometer", "bitplane", "weighted_phase", "graded")
N_STEPS = st.integers(1, 256)
PIXELS = st.integers(0, 255)


def row(kind: str, pixel: int, n_steps: int, **options: int) -> list[int]:
    """The spikes of one pixel value."""
    return spike_table(CodingSpec(kind=kind, n_steps=n_steps, **options))[pixel].tolist()


def some_images(n: int, seed: int = 0, shape: tuple[int, int, int] = (2, 5, 3)) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), dtype=np.uint8)


def words(n: int, key: int) -> list[int]:
    """The first words of Philox-4x64-10 (Salmon et al., SC 2011, table 2 and figure 2), counter from 1 as in numpy."""
    mask, out = 2**64 - 1, []
    for counter in range(1, -(-n // 4) + 1):
        c, k = [counter, 0, 0, 0], [key & mask, key >> 64]
        for _ in range(10):
            high0, low0 = divmod(0xD2E7470EE14C6C93 * c[0], 2**64)
            high1, low1 = divmod(0xCA5A826395121157 * c[2], 2**64)
            c = [high1 ^ c[1] ^ k[0], low1, high0 ^ c[3] ^ k[1], low0]
            k = [(k[0] + 0x9E3779B97F4A7C15) & mask, (k[1] + 0xBB67AE8584CAA73B) & mask]
        out += c
    return out[:n]


@given(pixel=PIXELS, n_steps=N_STEPS)
def test_rate_row_follows_its_equation(pixel: int, n_steps: int) -> None:
    p = Fraction(pixel, 255)
    spikes = row("rate", pixel, n_steps)
    assert spikes == [floor((t + 1) * p + HALF) - floor(t * p + HALF) for t in range(n_steps)]
    assert set(spikes) <= {0, 1}
    assert sum(spikes) == floor(n_steps * p + HALF)


@given(pixel=PIXELS, n_steps=N_STEPS)
def test_rate_row_is_evenly_spaced(pixel: int, n_steps: int) -> None:
    steps = np.flatnonzero(row("rate", pixel, n_steps))
    gaps = set(np.diff(steps).tolist())
    # evenly spaced on a grid: any two gaps differ by at most one step
    assert not gaps or max(gaps) - min(gaps) <= 1


@given(pixel=PIXELS, n_steps=N_STEPS)
def test_thermometer_row_follows_its_equation(pixel: int, n_steps: int) -> None:
    p = Fraction(pixel, 255)
    spikes = row("thermometer", pixel, n_steps)
    assert spikes == [int(p > (t + HALF) / n_steps) for t in range(n_steps)]
    assert spikes == sorted(spikes, reverse=True)


@given(pixel=PIXELS, n_steps=N_STEPS)
def test_bitplane_row_holds_the_pixels_binary_digits(pixel: int, n_steps: int) -> None:
    digits = f"{pixel:08b}"
    assert row("bitplane", pixel, n_steps) == [int(digits[t % 8]) for t in range(n_steps)]


@given(pixel=PIXELS, n_periods=st.integers(1, 32))
def test_weighted_phase_row_sums_to_the_pixel_each_period(pixel: int, n_periods: int) -> None:
    spikes = np.array(row("weighted_phase", pixel, 8 * n_periods)).reshape(n_periods, 8)
    assert (spikes.sum(axis=1) == pixel).all()
    # each payload is its step's own power of two, or nothing
    assert all(value in (0, 2 ** (7 - t)) for period in spikes.tolist() for t, value in enumerate(period))


@given(pixel=PIXELS, n_steps=N_STEPS, bits=st.integers(1, 8))
def test_graded_row_repeats_the_top_bits(pixel: int, n_steps: int, bits: int) -> None:
    spikes = row("graded", pixel, n_steps, bits=bits)
    assert spikes == [floor(Fraction(pixel, 2 ** (8 - bits)))] * n_steps


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bits", [1, 5, 8])
def test_payload_never_exceeds_what_the_specification_promises(kind: str, bits: int) -> None:
    coding = CodingSpec(kind=kind, n_steps=16, bits=bits)
    every_pixel = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    spikes = encode_images(every_pixel, coding)
    assert spikes.max() == coding.max_payload
    assert coding.max_payload < 2 ** max(coding.message_bits, 1)


@pytest.mark.parametrize("kind", KINDS)
def test_encoded_image_has_time_last_and_each_pixel_in_its_place(kind: str) -> None:
    coding = CodingSpec(kind=kind, n_steps=8)
    images = np.zeros((2, 3, 4, 5), dtype=np.uint8)
    images[1, 2, 3, 4] = 255
    spikes = encode_images(images, coding)
    assert spikes.shape == (2, 3, 4, 5, 8)
    assert spikes.dtype == np.uint8
    assert spikes[1, 2, 3, 4].all()
    assert np.count_nonzero(spikes) == np.count_nonzero(spikes[1, 2, 3, 4])


def test_spike_table_is_refused_for_a_random_coding() -> None:
    with pytest.raises(DataError, match="'bernoulli' is random and has no table"):
        spike_table(CodingSpec(kind="bernoulli"))


@settings(max_examples=30)
@given(
    n=st.integers(1, 6),
    n_steps=st.integers(1, 17),
    seed=st.integers(0, 2**32 - 1),
    order=st.randoms(use_true_random=False),
)
def test_bernoulli_codes_an_image_alike_in_any_batch_and_order(n: int, n_steps: int, seed: int, order) -> None:
    coding = CodingSpec(kind="bernoulli", n_steps=n_steps, seed=seed)
    images = some_images(n)
    together = encode_images(images, coding)
    places = list(range(n))
    order.shuffle(places)
    # not contiguous either: the bytes of the image count, not how they lie in memory
    shuffled = np.asfortranarray(images[places])
    assert (encode_images(shuffled, coding) == together[places]).all()
    assert all((encode_images(images[i : i + 1], coding)[0] == together[i]).all() for i in range(n))


def test_bernoulli_draws_are_the_documented_stream() -> None:
    coding = CodingSpec(kind="bernoulli", n_steps=7, seed=12345)
    image = some_images(1)[0]
    digest = hashlib.sha256((12345).to_bytes(4, "little") + bytes(image.ravel().tolist())).digest()
    n_draws = image.size * 7
    raw = b"".join(
        word.to_bytes(8, "little") for word in words(-(-n_draws // 4), int.from_bytes(digest[:16], "little"))
    )
    draws = [int.from_bytes(raw[2 * i : 2 * i + 2], "little") for i in range(n_draws)]
    pixels = np.repeat(image.ravel(), 7).tolist()
    expected = [int(Fraction(draw, 65536) < Fraction(pixel, 255)) for draw, pixel in zip(draws, pixels, strict=True)]
    assert encode_images(image[None], coding).ravel().tolist() == expected


@pytest.mark.parametrize("pixel", [1, 64, 128, 191, 254])
def test_bernoulli_mean_is_the_pixel(pixel: int) -> None:
    images = np.full((1, 1, 64, 64), pixel, dtype=np.uint8)
    spikes = encode_images(images, CodingSpec(kind="bernoulli", n_steps=64, seed=7))
    p = pixel / 255
    sigma = sqrt(p * (1 - p) / spikes.size)
    # 4 standard deviations of the mean of as many independent draws, and 2^-16 of rounding p to 16 bits
    assert abs(spikes.mean() - p) < 4 * sigma + 2**-16


def test_bernoulli_leaves_black_and_white_certain() -> None:
    coding = CodingSpec(kind="bernoulli", n_steps=256)
    images = np.zeros((1, 1, 32, 32), dtype=np.uint8)
    assert not encode_images(images, coding).any()
    assert encode_images(images + np.uint8(255), coding).all()


def test_bernoulli_differs_between_seeds_and_images() -> None:
    images = np.full((2, 1, 16, 16), 128, dtype=np.uint8)
    images[1, 0, 0, 0] = 129
    first = encode_images(images, CodingSpec(kind="bernoulli", seed=0))
    second = encode_images(images, CodingSpec(kind="bernoulli", seed=1))
    # 2,048 fair draws agree by chance in half of the places, standard deviation 1.1 %; 40 % is 9 of them away
    assert (first[0] != second[0]).mean() > 0.4
    assert (first[0] != first[1]).mean() > 0.4


def test_check_images_adds_the_one_channel_axis() -> None:
    images = some_images(3, shape=(1, 4, 4))
    assert (check_images(images[:, 0], (1, 4, 4)) == images).all()
    assert check_images(images, (1, 4, 4)) is images


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (np.zeros((2, 1, 4, 5), np.uint8), ShapeError, r"must be \(C, H, W\) = \(1, 4, 4\) each, got \(1, 4, 5\)"),
        (np.zeros((2, 3, 4, 4), np.uint8), ShapeError, r"got \(3, 4, 4\)\. Resize or convert"),
        (np.zeros((2, 4, 4, 1), np.uint8), ShapeError, r"got \(4, 4, 1\)"),
        (np.zeros((4, 4), np.uint8), ShapeError, r"must have axes \(N, C, H, W\), got shape \(4, 4\)"),
        (np.zeros((1, 1, 1, 4, 4), np.uint8), ShapeError, r"got shape \(1, 1, 1, 4, 4\)"),
        ([np.zeros((1, 4, 4), np.uint8), np.zeros((1, 4, 5), np.uint8)], ShapeError, "differ in size"),
        (np.zeros((0, 1, 4, 4), np.uint8), DataError, "`images` is empty. Give at least one image"),
        (np.full((1, 1, 4, 4), np.nan), DataError, "holds NaN"),
        (np.full((1, 1, 4, 4), np.inf), DataError, "must be uint8 .* got float64. Convert"),
        (np.ones((1, 1, 4, 4), np.float32), DataError, "got float32. Convert them first"),
        (np.zeros((1, 1, 4, 4), np.int64), DataError, "got int64"),
        (np.zeros((1, 1, 4, 4), bool), DataError, "got bool"),
        (np.full((1, 1, 4, 4), "x"), DataError, "got <U1"),
        (None, DataError, "got object"),
    ],
)
def test_check_images_refuses_what_the_model_cannot_take(images, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        check_images(images, (1, 4, 4))
    assert "\n" not in str(caught.value)


def test_check_images_wants_channels_named_for_colour() -> None:
    with pytest.raises(ShapeError, match=r"axes \(N, C, H, W\), got shape \(2, 4, 4\)"):
        check_images(np.zeros((2, 4, 4), np.uint8), (3, 4, 4))
