from pathlib import Path

import pytest

from sqdr.errors import ConfigError
from sqdr.strict import load_yaml, parse
from sqdr.train.config import TrainConfig, load_config, packaged_configs, resolve_model
from sqdr.train.data.digits import load

EXPECTED = {"digits_small", "mnist10k_tiny", "mnist10k_small", "mnist10k_base"}


def test_every_packaged_configuration_is_valid_and_reads_back_equal(tmp_path: Path) -> None:
    names = packaged_configs()
    assert set(names) >= EXPECTED
    for name in names:
        config = load_config(name)
        assert name.startswith(config.data.name)
        path = tmp_path / f"{name}.yaml"
        path.write_text(config.to_yaml())
        assert load_config(path) == config


def test_options_replace_and_none_keeps() -> None:
    config = load_config("digits_small")
    changed = config.with_options(seed=3, n_epochs=None)
    assert (changed.training.seed, changed.training.n_epochs) == (3, config.training.n_epochs)
    with pytest.raises(ConfigError, match="options: n_epochs: .*greater than or equal to 1, got 0"):
        config.with_options(n_epochs=0)


@pytest.mark.parametrize(
    ("section", "change", "message"),
    [
        ("training", {"learning_rate": 1}, "training: unknown key 'learning_rate'"),
        ("training", {"encoder_rl": 1}, "unknown key 'encoder_rl'; did you mean 'encoder_lr'"),
        ("training", {"precision": "bf16"}, "training.precision: .*'float32' or 'tf32'"),
        ("training", {"encoder_lr": float("nan")}, "encoder_lr"),
        ("encoder", {"preset": "huge"}, "encoder.preset"),
        ("encoder", {"layers": [{"kind": "conv", "out_channels": 3}] * 2}, "give either `preset` or `layers`"),
        ("head", {"simulator": "gpu"}, "must be auto, statevector, lightcone or pennylane:<device>, got 'gpu'"),
        ("head", {"features_per_qubit": 2}, "head.features_per_qubit"),
        ("coding", {"kind": "latency"}, "coding.kind"),
    ],
)
def test_broken_rule_is_named_in_one_line(section: str, change: dict, message: str, tiny_config: dict) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        parse(TrainConfig, tiny_config | {section: tiny_config[section] | change}, "mine.yaml")
    assert str(caught.value).startswith("mine.yaml: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["pool", "convT", "unpool", "average", "concat", "dense_rec"])
def test_layer_that_cannot_be_exported_is_refused_before_training(kind: str, tiny_config: dict) -> None:
    layers = [{"kind": "conv", "out_channels": 4}, {"kind": kind}, {"kind": "dense", "out_features": 4}]
    with pytest.raises(ConfigError, match=f"layer 1: kind '{kind}' cannot be exported to Lava"):
        parse(TrainConfig, tiny_config | {"encoder": {"layers": layers}}, "mine.yaml")


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([{"kind": "dense", "out_features": 9}, {"kind": "dense", "out_features": 4}], "must begin with a conv"),
        ([{"kind": "conv", "out_channels": 4}, {"kind": "conv", "out_channels": 4}], "must end with a dense layer"),
        (
            [{"kind": "conv", "out_channels": 4, "kernel_size": 9}, {"kind": "dense", "out_features": 4}],
            "the kernel spans 9 but its padded input is only 8 along H",
        ),
        (
            [{"kind": "conv", "out_channels": 4, "groups": 2}, {"kind": "dense", "out_features": 4}],
            "`groups` must divide the input channels 1",
        ),
        ([{"kind": "conv", "out_channels": 4}, {"kind": "dense", "out_features": 5}], "makes 5 features but the head"),
    ],
)
def test_layers_that_do_not_fit_are_refused_before_training(layers, message: str, tiny_config: dict) -> None:
    config = parse(TrainConfig, tiny_config | {"encoder": {"layers": layers}}, "mine.yaml")
    with pytest.raises(ConfigError, match=message):
        resolve_model(config, load())


def test_missing_configuration_names_the_packaged_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist. Packaged ones: .*digits_small"):
        load_config(tmp_path / "none.yaml")


def test_packaged_file_is_what_its_name_loads() -> None:
    path = Path(__file__).parents[2] / "train" / "configs" / "digits_small.yaml"
    assert parse(TrainConfig, load_yaml(path), "file") == load_config("digits_small")
