"""Encoders to start from, by name."""

from typing import Literal

from sqdr.specification import ConvSpec, DenseSpec, LayerSpec

__all__ = ["PresetName", "preset_layers"]

PresetName = Literal["tiny", "small", "base", "digits_tiny", "digits_small", "digits_base"]

# (out_channels, kernel_size, stride, padding) of each conv; hidden dense layers
PRESETS: dict[str, tuple[tuple[tuple[int, int, int, int], ...], tuple[int, ...]]] = {
    # for images of 28x28 and 32x32
    "tiny": (((2, 3, 2, 1), (4, 3, 2, 1), (4, 3, 2, 0)), ()),
    "small": (((8, 5, 2, 2), (16, 3, 2, 1), (16, 3, 2, 0)), ()),
    "base": (((16, 5, 2, 2), (32, 3, 2, 1), (32, 3, 2, 0)), (96,)),
    # for images of 8x8
    "digits_tiny": (((4, 3, 1, 1), (4, 3, 2, 1), (4, 3, 1, 0)), ()),
    "digits_small": (((8, 3, 1, 1), (16, 3, 2, 1), (16, 3, 1, 0)), ()),
    "digits_base": (((16, 3, 1, 1), (32, 3, 2, 1), (32, 3, 1, 0)), (48,)),
}


def preset_layers(name: PresetName, n_features: int) -> tuple[LayerSpec, ...]:
    """Return a preset's layers, ending in a dense layer of ``n_features``."""
    convs, hidden = PRESETS[name]
    layers: list[LayerSpec] = [
        ConvSpec(out_channels=channels, kernel_size=(kernel, kernel), stride=(stride, stride), padding=(pad, pad))
        for channels, kernel, stride, pad in convs
    ]
    return (*layers, *(DenseSpec(out_features=size) for size in (*hidden, n_features)))
