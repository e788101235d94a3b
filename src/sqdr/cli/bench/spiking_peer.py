"""The encoder in SpikingJelly, written as its own documentation would."""

import contextlib
import io
import warnings
from typing import TYPE_CHECKING

from sqdr.errors import MissingDependencyError

if TYPE_CHECKING:
    from torch import nn

    from sqdr.specification import EncoderSpec

__all__ = ["SPIKINGJELLY", "spikingjelly_encoder"]

SPIKINGJELLY = "SpikingJelly"


def spikingjelly_encoder(spec: "EncoderSpec") -> "nn.Sequential":
    """Return the same layer shapes with IF neurons: (T, N, C, H, W) float32 to spikes (T, N, F).

    Multi-step mode, torch backend, ATan surrogate. IF neurons have no leak and their current does not last, so their
    spikes are not those of CUBA neurons. Between two batches they forget.

    Raises:
        MissingDependencyError: SpikingJelly is not installed.
    """
    from torch import nn

    from sqdr.specification import ConvSpec

    quiet = io.StringIO()
    try:
        with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from spikingjelly.activation_based import functional, layer, neuron, surrogate
    except ImportError as error:
        raise MissingDependencyError(f"{SPIKINGJELLY}: pip install 'sqdr[bench]'") from error

    modules: list[nn.Module] = []
    shape: tuple[int, ...] = spec.input_shape
    for made, out_shape in zip(spec.layers, spec.shapes, strict=True):
        if isinstance(made, ConvSpec):
            size = (made.kernel_size, made.stride, made.padding)
            modules.append(layer.Conv2d(shape[0], made.out_channels, *size, bias=False))
        else:
            if len(shape) == 3:
                modules.append(layer.Flatten())
                shape = (shape[0] * shape[1] * shape[2],)
            modules.append(layer.Linear(shape[0], made.out_features, bias=False))
        modules.append(neuron.IFNode(surrogate_function=surrogate.ATan()))
        shape = out_shape
    encoder = nn.Sequential(*modules)
    functional.set_step_mode(encoder, "m")
    encoder.register_forward_pre_hook(lambda module, arguments: functional.reset_net(module))
    return encoder
