"""The spiking encoder as lava-dl SLAYER blocks, built from its specification."""

import contextlib
import io
import math
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from sqdr.errors import MissingDependencyError
from sqdr.plugins import missing
from sqdr.specification import ConvSpec, DenseSpec, EncoderSpec
from sqdr.train.encoder.cuba import CubaChoice
from sqdr.train.encoder.cuba.choice import check_choice
from sqdr.train.encoder.cuba.path import OutOfRange

__all__ = ["SlayerEncoder", "cuda_problem", "import_slayer"]


def import_slayer() -> Any:
    """Return ``lava.lib.dl.slayer``, imported without its notices.

    Raises:
        MissingDependencyError: lava-dl is not installed.
    """
    try:
        # It prints a notice about an event-camera toolbox, torch's extension builder one about CUDA,
        # and both warn about their own dependencies.
        quiet = io.StringIO()
        with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import lava.lib.dl.slayer as slayer
    except ImportError as error:
        raise missing(error, "the SLAYER encoder") from error
    return slayer


def cuda_problem() -> str | None:
    """Return why SLAYER's CUDA kernels cannot be compiled or loaded here, or None if they can.

    SLAYER compiles them with nvcc at first use, in the middle of training; this does it before.
    """
    import_slayer()
    try:
        from lava.lib.dl.slayer.neuron.dynamics.leaky_integrator import Accelerated

        Accelerated.leaky_integrator  # noqa: B018 - compiles when it is looked at
    # torch's extension builder has no error of its own: OSError, RuntimeError, ImportError, ...
    except Exception as error:
        return " ".join(f"{type(error).__name__}: {error}".split())[:300]
    return None


class SlayerEncoder(nn.Module):
    """CUBA conv and dense blocks in sequence.

    Spikes leave every layer in the step in which they arise (``delay_shift=False``); a pipelined
    deployment adds one step per layer, which `sqdr.timing` accounts for.

    Args:
        spec: of the encoder.
        max_payload: largest value of one input spike; the first layer's threshold grows with it.
        cuba_path: what computes the layers: SLAYER's own code (``stock``), or `sqdr.train.encoder.cuba`, which is
            equal and faster (``auto``, ``c``, ``torch``).

    Attributes:
        blocks: SLAYER blocks, one per layer, with a Flatten before the first dense one.
        fused: what computes all of them at once where the C kernels are, or None.

    Raises:
        MissingDependencyError: lava-dl is not installed, or ``c`` was not built.

    Source: lava-dl 0.6.0, lava/lib/dl/slayer/block/cuba.py.
    """

    def __init__(self, spec: EncoderSpec, max_payload: int = 1, cuba_path: CubaChoice = "stock") -> None:
        super().__init__()
        check_choice(cuba_path)
        cuba = import_slayer().block.cuba
        self.spec = spec
        blocks: list[nn.Module] = []
        shape: tuple[int, ...] = spec.input_shape
        for layer, out_shape in zip(spec.layers, spec.shapes, strict=True):
            neuron = self._neuron(max_payload if not blocks else 1)
            common = {
                "weight_scale": spec.weight_scale,
                "weight_norm": spec.is_weight_normalised,
                "delay": False,
                "delay_shift": False,
            }
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch deprecates the weight_norm that SLAYER uses
                if isinstance(layer, DenseSpec):
                    if len(shape) == 3:
                        blocks.append(cuba.Flatten())
                    blocks.append(cuba.Dense(neuron, math.prod(shape), layer.out_features, **common))
                else:
                    blocks.append(self._conv(cuba, neuron, shape[0], layer, common))
            shape = out_shape
        self.blocks = nn.ModuleList(blocks)
        for block in self.layers():
            # SLAYER's gradient of the decays is -4096 times the true one: never train them.
            block.neuron.current_decay.requires_grad_(False)
            block.neuron.voltage_decay.requires_grad_(False)
            if not hasattr(block.neuron, "threshold_eps"):  # else the assignment would do nothing, in silence
                raise MissingDependencyError("this lava-dl has no `neuron.threshold_eps`. Install lava-dl 0.6.0.")
            # SLAYER spikes at v >= threshold + eps, to mean v > threshold as Lava does. Its own eps is
            # lost in float32 above a threshold of 64; half a step of the voltage never is.
            block.neuron.threshold_eps = 0.5 / block.neuron.s_scale
        if cuba_path != "stock":
            from sqdr.train.encoder.cuba.blocks import accelerate  # which imports SLAYER

            for block in self.layers():
                accelerate(block, cuba_path)
        self.fused: Any = None
        self.build()
        if cuba_path in ("auto", "c"):
            from sqdr.train.encoder.cuba.fused import fused_encoder

            self.fused = fused_encoder(list(self.layers()), spec.input_shape)

    def _neuron(self, payload: int) -> dict[str, Any]:
        neuron, surrogate = self.spec.neuron, self.spec.surrogate
        return {
            "threshold": neuron.threshold * payload,
            "current_decay": neuron.current_decay,
            "voltage_decay": neuron.voltage_decay,
            "tau_grad": surrogate.tau_grad,
            "scale_grad": surrogate.scale_grad,
            "requires_grad": False,
        }

    @staticmethod
    def _conv(cuba: Any, neuron: dict[str, Any], channels: int, layer: ConvSpec, common: dict[str, Any]) -> Any:
        return cuba.Conv(
            neuron,
            channels,
            layer.out_channels,
            kernel_size=layer.kernel_size,
            stride=layer.stride,
            padding=layer.padding,
            dilation=layer.dilation,
            groups=layer.groups,
            **common,
        )

    def build(self) -> None:
        """Run one blank sample: SLAYER finds its layer shapes in the first forward pass."""
        with torch.no_grad():
            self(torch.zeros(1, *self.spec.input_shape, 1, device=next(self.parameters()).device))

    def layers(self) -> Iterator[Any]:
        """Yield the blocks that have neurons."""
        return (block for block in self.blocks if hasattr(block, "neuron"))

    def forward(self, spikes: Tensor) -> Tensor:
        """Return output spikes (N, F, T) for coded images (N, C, H, W, T), float32."""
        if self.fused is not None and self.fused.can(spikes):
            with contextlib.suppress(OutOfRange):
                return self.fused(spikes)  # type: ignore[no-any-return]
        for block in self.blocks:
            spikes = block(spikes)
        return spikes

    def layer_spikes(self, spikes: Tensor) -> list[Tensor]:
        """Return the output spikes of every layer, first to last."""
        if self.fused is not None and not torch.is_grad_enabled() and self.fused.can(spikes):
            with contextlib.suppress(OutOfRange):
                return self.fused.layer_spikes(spikes)  # type: ignore[no-any-return]
        trains = []
        for block in self.blocks:
            spikes = block(spikes)
            if hasattr(block, "neuron"):
                trains.append(spikes)
        return trains
