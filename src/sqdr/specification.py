"""What a hybrid model is: coding, spiking encoder, quantum head. Validated when it is built.

A specification holds every choice that the exported network depends on. It refuses what could not
be exported later, so that nobody trains for a day towards an error.
"""

from math import pi
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from sqdr.circuit import Entangler, cone_reach
from sqdr.strict import StrictModel
from sqdr.timing import Timing

__all__ = [
    "CodingSpec",
    "ConvSpec",
    "DenseSpec",
    "EncoderSpec",
    "HeadSpec",
    "LayerSpec",
    "Layers",
    "ModelSpec",
    "NeuronSpec",
    "SurrogateSpec",
]

# Lava's convolution stores groups in 7 bits; measured limit of the netx reader.
MAX_GROUPS = 127
# 2^16 amplitudes times a batch is what a training step can afford.
MAX_STATEVECTOR_QUBITS = 16
# The light cone's closed form, see sqdr.train.head.lightcone.
MAX_LIGHTCONE_BLOCKS = 2
# Layers that lava-dl SLAYER can train but its netx reader cannot build.
UNEXPORTABLE = {
    "pool": "use a conv with stride 2 instead",
    "convT": "use conv and dense layers only",
    "unpool": "use conv and dense layers only",
    "average": "the quantum head reads spike counts itself; leave it out",
    "concat": "use a plain sequence of layers",
    "dense_rec": "use conv and dense layers only",
}


def _pair(value: Any) -> Any:
    """Read 3 as (3, 3): height and width."""
    return (value, value) if isinstance(value, int) and not isinstance(value, bool) else value


# Lava's convolution holds kernel size, stride, padding and dilation in 8 bits with a sign.
SizePair = Annotated[
    tuple[Annotated[int, Field(ge=1, le=127)], Annotated[int, Field(ge=1, le=127)]], BeforeValidator(_pair)
]
PaddingPair = Annotated[
    tuple[Annotated[int, Field(ge=0, le=127)], Annotated[int, Field(ge=0, le=127)]], BeforeValidator(_pair)
]


class CodingSpec(StrictModel):
    """How an 8-bit image becomes spikes over time.

    Args:
        kind: see ``sqdr.coding`` for each coding's equation.
        n_steps: T, time steps per sample.
        seed: of the Bernoulli coding.
        bits: payload bits of the graded coding, 1 to 8.
    """

    kind: Literal["rate", "bernoulli", "thermometer", "bitplane", "weighted_phase", "graded"] = "rate"
    n_steps: int = Field(default=8, ge=1, le=256)
    seed: int = Field(default=0, ge=0, lt=2**32)
    bits: int = Field(default=4, ge=1, le=8)

    @property
    def message_bits(self) -> int:
        """Bits of one input spike's payload; 0 when spikes are binary."""
        return self.bits if self.kind == "graded" else 8 if self.kind == "weighted_phase" else 0

    @property
    def max_payload(self) -> int:
        """The largest value that one input spike carries."""
        if self.kind == "graded":
            return int(2**self.bits - 1)
        return 128 if self.kind == "weighted_phase" else 1


class NeuronSpec(StrictModel):
    """A current-based leaky integrate-and-fire neuron (CUBA), in SLAYER's units.

    Args:
        threshold: membrane voltage above which the neuron spikes; floored to 1/64.
        current_decay: fraction of the synaptic current lost per step; 1 keeps no current.
        voltage_decay: fraction of the membrane voltage lost per step.
    """

    # The hardware threshold mantissa has 17 bits: 131071 / 64.
    threshold: float = Field(default=1.0, ge=1 / 64, le=131071 / 64)
    # the hardware has no current that never decays
    current_decay: float = Field(default=1.0, ge=1 / 4096, le=1)
    voltage_decay: float = Field(default=0.1, ge=0, le=1)


class SurrogateSpec(StrictModel):
    """The surrogate gradient of the spike, as SLAYER names it.

    SLAYER's own defaults of 1 and 1 do not train: the first layer's gradient is below Adam's epsilon.

    Args:
        tau_grad: width of the gradient's peak at the threshold, in SLAYER's unit, which grows with the threshold.
        scale_grad: factor on the gradient.
    """

    tau_grad: float = Field(default=0.005, gt=0)
    scale_grad: float = Field(default=10.0, gt=0)


class ConvSpec(StrictModel):
    """A convolution over (height, width) with CUBA neurons. A single number means both axes."""

    kind: Literal["conv"] = "conv"
    out_channels: int = Field(ge=1, le=4096)
    kernel_size: SizePair = (3, 3)
    stride: SizePair = (1, 1)
    padding: PaddingPair = (0, 0)
    dilation: SizePair = (1, 1)
    groups: int = Field(default=1, ge=1, le=MAX_GROUPS)


class DenseSpec(StrictModel):
    """A fully connected layer with CUBA neurons."""

    kind: Literal["dense"] = "dense"
    out_features: int = Field(ge=1, le=65536)


LayerSpec = Annotated[ConvSpec | DenseSpec, Field(discriminator="kind")]


def _refuse_unexportable(layers: Any) -> Any:
    for index, layer in enumerate(layers if isinstance(layers, list | tuple) else ()):
        kind = layer.get("kind") if isinstance(layer, dict) else None
        if isinstance(kind, str) and kind in UNEXPORTABLE:
            raise ValueError(f"layer {index}: kind '{kind}' cannot be exported to Lava; {UNEXPORTABLE[kind]}.")
        if isinstance(layer, dict) and layer.get("delay"):
            raise ValueError(
                f"layer {index}: delays cannot be exported exactly (netx ignores conv delays); remove `delay`."
            )
    return layers


Layers = Annotated[tuple[LayerSpec, ...], Field(min_length=2, max_length=64), BeforeValidator(_refuse_unexportable)]
"""The layers of an encoder; what netx could not build is refused here."""


class EncoderSpec(StrictModel):
    """The spiking encoder: convolutions, then dense layers, every layer with CUBA neurons.

    Args:
        input_shape: (C, H, W) of the image.
        layers: at least one conv first (netx drops the axis order of a network that starts flat),
            and a dense layer last, whose outputs are the features.
        neuron: shared by all layers; the first layer's threshold is multiplied by the coding's
            largest payload.
        surrogate: used in training only.
        is_weight_normalised: train weight direction and length apart; folded before export.
        weight_scale: factor on SLAYER's initial weights.
    """

    input_shape: tuple[
        Annotated[int, Field(ge=1, le=64)],
        Annotated[int, Field(ge=1, le=1024)],
        Annotated[int, Field(ge=1, le=1024)],
    ]
    layers: Layers
    neuron: NeuronSpec = NeuronSpec()
    surrogate: SurrogateSpec = SurrogateSpec()
    is_weight_normalised: bool = True
    weight_scale: float = Field(default=2.0, gt=0, le=64)

    @model_validator(mode="after")
    def _layers_fit(self) -> "EncoderSpec":
        if self.layers[0].kind != "conv":
            raise ValueError(
                "`layers` must begin with a conv: netx drops the axis order of a network that starts "
                "flat. Use a conv with the image's own size as kernel instead."
            )
        if self.layers[-1].kind != "dense":
            raise ValueError("`layers` must end with a dense layer, whose outputs are the features.")
        self.shapes  # noqa: B018 - raises where a layer does not fit
        return self

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Output shape of every layer: (C, H, W) for a conv, (F,) for a dense layer."""
        shapes: list[tuple[int, ...]] = []
        current: tuple[int, ...] = self.input_shape
        for index, layer in enumerate(self.layers):
            if isinstance(layer, DenseSpec):
                current = (layer.out_features,)
            elif len(current) == 1:
                raise ValueError(f"layer {index}: a conv cannot follow a dense layer.")
            else:
                current = _conv_shape(index, layer, (current[0], current[1], current[2]))
            shapes.append(current)
        return shapes

    @property
    def n_features(self) -> int:
        """Outputs of the last layer."""
        return self.shapes[-1][0]


def _conv_shape(index: int, layer: ConvSpec, shape: tuple[int, int, int]) -> tuple[int, int, int]:
    channels, *sizes = shape
    if channels % layer.groups or layer.out_channels % layer.groups:
        raise ValueError(
            f"layer {index}: `groups` must divide the input channels {channels} and out_channels "
            f"{layer.out_channels}, got {layer.groups}."
        )
    out = []
    for axis, size in enumerate(sizes):
        span = layer.dilation[axis] * (layer.kernel_size[axis] - 1) + 1
        free = size + 2 * layer.padding[axis] - span
        if free < 0:
            raise ValueError(
                f"layer {index}: the kernel spans {span} but its padded input is only "
                f"{size + 2 * layer.padding[axis]} along {'HW'[axis]}. Use a smaller kernel or stride."
            )
        out.append(free // layer.stride[axis] + 1)
    return layer.out_channels, out[0], out[1]


class HeadSpec(StrictModel):
    """The quantum head: features to angles, the reupload circuit, and a linear readout.

    Args:
        n_qubits: wires of the circuit.
        n_blocks: L, uploads of the features.
        entangler: which pairs the CZ gates of each block join.
        features_per_qubit: 1 feeds the middle angle (RY) of ``Rot`` only; 3 feeds all three.
        scale_rad: angle at rate 1.
        is_scale_learned: train one scale per feature, starting from ``scale_rad``.
        weight_init: ``normal_half_pi``: N(0, 0.3) with +pi/2 on every middle angle; ``uniform``:
            U(0, 2 pi); ``truncated_normal``: N(0, 0.3) cut at two standard deviations.
        has_readout: a linear layer from <Z> to logits; without it the first n_classes <Z> are the
            logits.
        n_classes: K.
    """

    n_qubits: int = Field(ge=1, le=1024)
    n_blocks: int = Field(default=2, ge=1, le=64)
    entangler: Entangler = "ring"
    features_per_qubit: Literal[1, 3] = 1
    scale_rad: float = Field(default=pi / 2, gt=0, le=4 * pi)
    is_scale_learned: bool = False
    weight_init: Literal["normal_half_pi", "uniform", "truncated_normal"] = "normal_half_pi"
    has_readout: bool = True
    n_classes: int = Field(default=10, ge=2, le=1000)

    @property
    def n_features(self) -> int:
        """F, the features that the circuit takes in."""
        return self.n_qubits * self.features_per_qubit

    @model_validator(mode="after")
    def _is_simulable(self) -> "HeadSpec":
        width = min(self.n_qubits, 2 * cone_reach(self.n_qubits, self.n_blocks, self.entangler) + 1)
        if width > MAX_STATEVECTOR_QUBITS:
            raise ValueError(
                f"more than {MAX_STATEVECTOR_QUBITS} qubits take at most {MAX_STATEVECTOR_QUBITS // 2} blocks, got "
                f"{self.n_qubits} qubits and {self.n_blocks} blocks, whose light cones take {width} qubits: "
                "nothing here can check such a circuit."
            )
        return self

    @model_validator(mode="after")
    def _logits_exist(self) -> "HeadSpec":
        if not self.has_readout and self.n_qubits < self.n_classes:
            raise ValueError(
                f"`n_qubits` must be at least n_classes {self.n_classes} without a readout, got "
                f"{self.n_qubits}. Set has_readout: true or use more qubits."
            )
        return self


class ModelSpec(StrictModel):
    """A whole model, from image to class."""

    coding: CodingSpec = CodingSpec()
    encoder: EncoderSpec
    head: HeadSpec

    @model_validator(mode="after")
    def _features_match(self) -> "ModelSpec":
        made, taken = self.encoder.n_features, self.head.n_features
        if made != taken:
            raise ValueError(
                f"the encoder's last layer makes {made} features but the head takes {taken} (n_qubits "
                f"{self.head.n_qubits} x features_per_qubit {self.head.features_per_qubit}). Change one of them."
            )
        threshold = self.encoder.neuron.threshold * self.coding.max_payload
        if threshold * 64 > 131071:
            raise ValueError(
                f"`threshold` times the coding's largest payload must be at most {131071 / 64:.1f}, got "
                f"{threshold}. Use a smaller threshold or fewer bits."
            )
        return self

    @property
    def timing(self) -> Timing:
        """How samples stream through this encoder: the period is T, one step of delay per layer."""
        return Timing(n_steps=self.coding.n_steps, period=self.coding.n_steps, n_layers=len(self.encoder.layers))
