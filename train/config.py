"""What one training run needs, read from a YAML file."""

import importlib.resources
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, field_validator, model_validator

from sqdr.data import DataSplits
from sqdr.errors import ConfigError
from sqdr.hw_configs import BraketLocal, NoiseModel, load_hardware
from sqdr.hw_configs.loader import SUFFIXES, own_file
from sqdr.specification import (
    CodingSpec,
    HeadSpec,
    Layers,
    ModelSpec,
    NeuronSpec,
    SurrogateSpec,
)
from sqdr.strict import StrictModel, load_yaml, parse
from sqdr.train.encoder.cuba import CubaChoice
from sqdr.train.encoder.presets import PresetName, preset_layers
from sqdr.train.encoder.weight_init import EncoderInit
from sqdr.train.joint import HeadKind, HeadVariant, RateNormalisation

__all__ = [
    "DataConfig",
    "EncoderConfig",
    "HeadConfig",
    "TrainConfig",
    "TrainingConfig",
    "load_config",
    "packaged_config",
    "packaged_configs",
    "resolve_model",
]


class DataConfig(StrictModel):
    """Which data set.

    Args:
        name: of the data set, as it is registered.
        root: its folder; null for the folder in SQDR_DATA_DIR, then ``data``.
        limit: train on so many of the first training images; null for all. Validation and test stay whole.
    """

    name: str
    root: Path | None = None
    limit: int | None = Field(default=None, ge=1)


class EncoderConfig(StrictModel):
    """The encoder: a preset's layers, or your own; the image's shape comes from the data.

    Args:
        preset: layers by name; null where you give ``layers``.
        layers: your own, from the first to the last, such as ``{kind: conv, out_channels: 8, kernel_size: 3,
            stride: 2}`` and then ``{kind: dense, out_features: 9}``; null with a preset.
        neuron: of all layers.
        surrogate: the gradient that stands for that of a spike, in training only.
        is_weight_normalised: train weight direction and length apart; folded before export.
        weight_scale: factor on SLAYER's initial weights.
        initial_rate: mean spike rate that each layer is set to before training, see
            `sqdr.train.encoder.initialisation`; null leaves the weights as drawn.
        weight_init: how the weights are drawn, see `sqdr.train.encoder.weight_init`.
    """

    preset: PresetName | None = None
    layers: Layers | None = None
    neuron: NeuronSpec = NeuronSpec()
    surrogate: SurrogateSpec = SurrogateSpec()
    is_weight_normalised: bool = True
    weight_scale: float = Field(default=2.0, gt=0, le=64)
    initial_rate: float | None = Field(default=0.05, gt=0, lt=1)
    weight_init: EncoderInit = "slayer"

    @model_validator(mode="after")
    def _preset_or_layers(self) -> "EncoderConfig":
        if (self.preset is None) == (self.layers is None):
            raise ValueError("give either `preset` or `layers`.")
        return self


class HeadConfig(HeadSpec):
    """The head, with the simulator that trains it; the number of classes comes from the data.

    Args:
        simulator: ``auto``, ``statevector`` or ``lightcone`` (exact, batched, in torch), or
            ``pennylane:<device>`` such as ``pennylane:default.qubit``; ``auto`` is the cheaper of the first two.
        kind: ``quantum``, or a classical head to compare with, which is not exported: ``linear``, ``mlp`` or
            ``fourier``, see `sqdr.train.head.classical`.
        is_circuit_frozen: train all but the circuit's rotations.
        rate_normalisation: ``sample`` divides each image's rates by their mean; it is not exported.
    """

    n_classes: int = Field(default=2, ge=2, le=1000, exclude=True)
    simulator: str = "auto"
    kind: HeadKind = "quantum"
    is_circuit_frozen: bool = False
    rate_normalisation: RateNormalisation = "none"

    @property
    def variant(self) -> HeadVariant:
        """What the joint model needs to know of the head beside its specification."""
        return HeadVariant(self.kind, self.is_circuit_frozen, self.rate_normalisation)

    @field_validator("simulator")
    @classmethod
    def _known_simulator(cls, value: str) -> str:
        if value not in ("auto", "statevector", "lightcone") and not value.startswith("pennylane:"):
            raise ValueError(f"`simulator` must be auto, statevector, lightcone or pennylane:<device>, got '{value}'.")
        return value


class TrainingConfig(StrictModel):
    """How to optimise.

    Args:
        n_epochs: passes over the training part.
        batch_size: images per step.
        encoder_lr: learning rate of the encoder, decayed to 0 along a cosine.
        head_lr: the same for the head.
        early_stop_patience: stop after so many epochs without a better validation accuracy.
        precision: ``tf32`` lets a GPU multiply in TF32, which is exact for 8-bit weights times
            spikes; anything narrower would change spikes, so it is not offered.
        gradient_clip: largest gradient norm, or null.
        seed: of weights and batch order.
        device: where to train.
        n_devices: GPUs, or with ``device: cpu`` processes, that share every batch. Learning rates and epochs stay
            as they are; the results are one device's up to rounding.
        n_threads: CPU threads of torch, of each device; null leaves torch's choice, or shares the cores out.
        cuba: what computes the encoder's layers while training, see `sqdr.train.encoder.cuba`: ``auto`` the
            fastest path here, ``c`` the same but an error where the C kernels were not built, ``torch`` no
            kernels of ours, ``stock`` SLAYER's own code. The spikes are the same.
        noise: name or path of a hardware file of kind ``braket_local`` whose noise the circuit has in training and
            in the run's accuracies; null for none. Takes up to four blocks, or up to seven qubits; without an
            entangler, any number of both.
        optimiser: ``adam``, ``adamw`` (weight decay 0.01), ``rmsprop`` or ``sgd`` (momentum 0.9).
        spike_dropout: probability of losing each feature spike in training, so that the head learns to do without.
    """

    n_epochs: int = Field(ge=1, le=100_000)
    batch_size: int = Field(default=64, ge=1, le=65536)
    encoder_lr: float = Field(gt=0, le=10)
    head_lr: float = Field(default=0.06, gt=0, le=10)
    early_stop_patience: int | None = Field(default=None, ge=1)
    precision: Literal["float32", "tf32"] = "float32"
    gradient_clip: float | None = Field(default=None, gt=0)
    seed: int = Field(default=0, ge=0, lt=2**32)
    device: Literal["cpu", "cuda", "auto"] = "auto"
    n_devices: int = Field(default=1, ge=1, le=1024)
    n_threads: int | None = Field(default=None, ge=1)
    cuba: CubaChoice = "auto"
    noise: str | None = None
    optimiser: Literal["adam", "adamw", "rmsprop", "sgd"] = "adam"
    spike_dropout: float = Field(default=0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _every_device_has_an_image(self) -> "TrainingConfig":
        if self.batch_size < self.n_devices:
            raise ValueError(
                f"`batch_size` must be at least `n_devices`, got {self.batch_size} and {self.n_devices}: "
                "each device takes its share of every batch."
            )
        return self

    def noise_model(self) -> NoiseModel | None:
        """Return the noise that ``noise`` names.

        Raises:
            ConfigError: the hardware file has no noise, or breaks a rule.
            DeviceError: no hardware file has this name.
        """
        if self.noise is None:
            return None
        hardware = load_hardware(self.noise)
        if not isinstance(hardware, BraketLocal) or hardware.noise is None:
            raise ConfigError(
                f"`noise` must name a hardware file with a noise model, got '{self.noise}', which has none. "
                "Use local_dm, or a copy of it with your device's error rates."
            )
        return hardware.noise


class TrainConfig(StrictModel):
    """One training run.

    Args:
        schema_version: the form of this file.
        data: the images.
        coding: how an image becomes spikes.
        encoder: the spiking network, from spikes to features.
        head: the quantum circuit, from features to classes.
        training: how to optimise.
    """

    schema_version: Literal[1] = 1
    data: DataConfig
    coding: CodingSpec = CodingSpec()
    encoder: EncoderConfig
    head: HeadConfig
    training: TrainingConfig

    @model_validator(mode="after")
    def _noise_has_a_circuit(self) -> "TrainConfig":
        if self.training.noise is not None and self.head.kind != "quantum":
            raise ValueError(f"`noise` is of a circuit, which a {self.head.kind} head has not. Set noise: null.")
        return self

    def with_options(self, **options: Any) -> "TrainConfig":
        """Return a copy with some of the training options replaced; None leaves one as it is."""
        changed = {name: value for name, value in options.items() if value is not None}
        training = parse(TrainingConfig, self.training.model_dump() | changed, "options")
        return self.model_copy(update={"training": training})

    def with_data_root(self, root: str | Path | None) -> "TrainConfig":
        """Return a copy whose data set is looked for in ``root``; None leaves it as it is."""
        if root is None:
            return self
        return self.model_copy(update={"data": self.data.model_copy(update={"root": Path(root).absolute()})})

    def with_noise_file(self) -> "TrainConfig":
        """Return a copy whose noise, where it is a file of the user's own, is named by its whole path.

        A run is resumed from another folder with the same noise.
        """
        name = self.training.noise
        if name is None:
            return self
        own = Path(name) if name.endswith(SUFFIXES) else own_file(name)
        return self if own is None else self.with_options(noise=str(own.absolute()))

    def to_yaml(self) -> str:
        """Return the configuration as YAML that `load_config` reads back equal."""
        data = self.model_dump(mode="json", exclude_none=True)
        return yaml.safe_dump(data, sort_keys=False)


def packaged_configs() -> list[str]:
    """Return the names of the configurations that come with sqdr."""
    folder = importlib.resources.files("sqdr.train.configs")
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))


def packaged_config(name: str) -> TrainConfig:
    """Return a configuration of `packaged_configs`, whatever lies in the working folder.

    Raises:
        ConfigError: no configuration of this name comes with sqdr.
    """
    if name not in packaged_configs():
        raise ConfigError(f"config {name} does not exist. Packaged ones: {', '.join(packaged_configs())}.")
    with importlib.resources.as_file(importlib.resources.files("sqdr.train.configs") / f"{name}.yaml") as path:
        return parse(TrainConfig, load_yaml(path), name)


def load_config(name: str | Path) -> TrainConfig:
    """Read a configuration file, or a packaged one by its name (``digits_small``).

    Raises:
        ConfigError: missing, not YAML, or a key or value breaks a rule.
    """
    path = Path(name)
    if not path.exists():
        return packaged_config(str(name))
    return parse(TrainConfig, load_yaml(path), str(path))


def resolve_model(config: TrainConfig, data: DataSplits) -> ModelSpec:
    """Return the model that a configuration means for a data set's image shape and classes.

    Raises:
        ConfigError: the layers do not fit the images, or could not be exported.
    """
    channels, height, width = data.train.images.shape[1:]
    encoder = config.encoder
    layers = encoder.layers
    if encoder.preset is not None:
        layers = preset_layers(encoder.preset, config.head.n_features)
    return parse(
        ModelSpec,
        {
            "coding": config.coding,
            "encoder": {
                "input_shape": (channels, height, width),
                "layers": layers,
                "neuron": encoder.neuron,
                "surrogate": encoder.surrogate,
                "is_weight_normalised": encoder.is_weight_normalised,
                "weight_scale": encoder.weight_scale,
            },
            "head": config.head.model_dump(include=set(HeadSpec.model_fields) - {"n_classes"})
            | {"n_classes": len(data.class_names)},
        },
        "model",
    )
