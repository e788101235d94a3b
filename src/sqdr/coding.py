"""Spike coding: 8-bit images to spikes over time, in integer arithmetic.

Every coding but Bernoulli depends on the pixel's value alone, so it is a table of 256 rows and the
coded image is a look-up. With x the pixel 0..255, p = x / 255 and t = 0 .. T - 1:

    rate            s[t] = floor((t + 1) p + 1/2) - floor(t p + 1/2), evenly spaced, sum = round(T p)
    thermometer     s[t] = 1 if p > (t + 1/2) / T, all spikes first
    bitplane        s[t] = bit 7 - (t mod 8) of x, the most significant first
    weighted_phase  the bit plane with payload 2^(7 - t mod 8): the phase weights of arXiv 2512.03895
    graded          s[t] = the top `bits` bits of x at every step, as payload
    bernoulli       s[t] = 1 with probability p, drawn from (seed, the image's own bytes), so that an
                    image is coded the same in any batch, order or process
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

from sqdr.errors import DataError, ShapeError
from sqdr.specification import CodingSpec

__all__ = ["PIXEL_MAX", "check_images", "check_spikes", "encode_images", "largest_payloads", "spike_table"]

PIXEL_MAX = 255


def spike_table(coding: CodingSpec) -> NDArray[np.uint8]:
    """Return the spikes of each pixel value, (256, T) uint8.

    Raises:
        DataError: the coding is random and has no table.
    """
    x = np.arange(PIXEL_MAX + 1, dtype=np.int64)[:, None]
    t = np.arange(coding.n_steps, dtype=np.int64)[None, :]
    if coding.kind == "rate":
        # floor(k p + 1/2) = floor((2 k x + 255) / 510)
        half = 2 * PIXEL_MAX
        table = (2 * (t + 1) * x + PIXEL_MAX) // half - (2 * t * x + PIXEL_MAX) // half
    elif coding.kind == "thermometer":
        table = 2 * coding.n_steps * x > PIXEL_MAX * (2 * t + 1)
    elif coding.kind == "bitplane":
        table = (x >> (7 - t % 8)) & 1
    elif coding.kind == "weighted_phase":
        table = x & (1 << (7 - t % 8))
    elif coding.kind == "graded":
        table = np.broadcast_to(x >> (8 - coding.bits), (PIXEL_MAX + 1, coding.n_steps))
    else:
        raise DataError(f"coding '{coding.kind}' is random and has no table. Use encode_images instead.")
    return table.astype(np.uint8)


def encode_images(images: NDArray[np.uint8], coding: CodingSpec) -> NDArray[np.uint8]:
    """Return the spikes of a batch of images.

    Args:
        images: (N, C, H, W) uint8, 0..255.
        coding: which coding and how many steps.

    Returns:
        (N, C, H, W, T) uint8; 0 or 1, or the payload for graded and weighted_phase.
    """
    if coding.kind != "bernoulli":
        return spike_table(coding)[images]
    spikes = np.empty((*images.shape, coding.n_steps), dtype=np.uint8)
    for image, out in zip(images, spikes, strict=True):
        digest = hashlib.sha256(coding.seed.to_bytes(4, "little") + image.tobytes()).digest()
        # raw bits, whose stream numpy keeps for ever (a Generator's may change between versions)
        raw = np.random.Philox(key=int.from_bytes(digest[:16], "little")).random_raw(-(-out.size // 4))
        uniform = raw.view(np.uint16)[: out.size].reshape(out.shape).astype(np.uint32)
        out[...] = uniform * PIXEL_MAX < image[..., None].astype(np.uint32) << 16
    return spikes


def largest_payloads(coding: CodingSpec) -> tuple[int, ...]:
    """Return the largest value of one input spike at each of the T steps."""
    if coding.kind == "bernoulli":
        return (1,) * coding.n_steps
    return tuple(int(value) for value in spike_table(coding).max(axis=0))


def check_images(images: NDArray[np.generic], input_shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Return the images as (N, C, H, W) uint8, or say what is wrong with them.

    Args:
        images: (N, C, H, W) or, for one channel, (N, H, W); uint8.
        input_shape: (C, H, W) that the model takes.

    Raises:
        DataError: empty, not uint8, or not a number.
        ShapeError: the wrong number of axes, channels or pixels.
    """
    try:
        array = np.asarray(images)
    except ValueError as error:
        raise ShapeError("`images` differ in size. Bring all images to one size.") from error
    if array.dtype.kind == "f" and np.isnan(array).any():
        raise DataError("`images` holds NaN. Remove or repair those images.")
    if array.dtype != np.uint8:
        raise DataError(
            f"`images` must be uint8 with values 0..255, got {array.dtype}. Convert them first, for "
            "example (255 * images).round().astype('uint8') for values in 0..1."
        )
    if array.ndim == 3 and input_shape[0] == 1:
        array = array[:, None]  # (N, H, W) -> (N, 1, H, W)
    if array.ndim != 4:
        raise ShapeError(f"`images` must have axes (N, C, H, W), got shape {array.shape}.")
    if array.shape[1:] != tuple(input_shape):
        raise ShapeError(
            f"`images` must be (C, H, W) = {tuple(input_shape)} each, got {array.shape[1:]}. Resize or "
            "convert them to what the model was trained on."
        )
    if array.shape[0] == 0:
        raise DataError("`images` is empty. Give at least one image.")
    return array  # type: ignore[return-value]


def check_spikes(
    spikes: NDArray[np.uint8], input_shape: tuple[int, ...], n_steps: int | None, message_bits: int | None
) -> None:
    """Check coded images before an encoder takes them.

    Args:
        spikes: (N, C, H, W, T) uint8.
        input_shape: (C, H, W) that the encoder takes.
        n_steps: T; None for any number but 0.
        message_bits: bits of a value, 0 for plain spikes; None leaves the values unchecked.

    Raises:
        ShapeError: the axes, sizes or type are others.
        DataError: a value is too large.
    """
    if not isinstance(spikes, np.ndarray) or spikes.dtype != np.uint8:
        got = getattr(spikes, "dtype", type(spikes).__name__)
        raise ShapeError(f"`spikes` must be a uint8 array, got {got}. Convert it with `astype`.")
    shape = (*input_shape, "T" if n_steps is None else n_steps)
    steps = spikes.shape[-1] if spikes.ndim else 0
    is_right = spikes.ndim == len(input_shape) + 2 and spikes.shape[1:-1] == tuple(input_shape)
    if not is_right or (steps != n_steps if n_steps is not None else steps == 0):
        raise ShapeError(f"`spikes` must be (N, C, H, W, T) with C, H, W, T = {shape}, got {spikes.shape}.")
    if message_bits is None:
        return
    limit = max(2, 1 << message_bits)
    if spikes.size and int(spikes.max()) >= limit:
        raise DataError(f"`spikes` must be below {limit}, got {int(spikes.max())}. Code the images first.")
