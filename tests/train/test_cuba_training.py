"""Training with our layers is training with SLAYER's: the option, and what comes out of a short run."""

from pathlib import Path

import pytest
import torch

from sqdr.errors import ConfigError, MissingDependencyError
from sqdr.strict import parse
from sqdr.train import loop
from sqdr.train.config import TrainConfig
from sqdr.train.encoder.cuba import choice, compiled
from sqdr.train.encoder.slayer import SlayerEncoder, import_slayer
from sqdr.train.run_folder import RunFolder

pytestmark = pytest.mark.filterwarnings("ignore")


def config(tiny: dict, **training) -> TrainConfig:
    return parse(TrainConfig, tiny | {"training": tiny["training"] | training}, "test")


def test_short_run_ends_where_slayers_does(tiny_config: dict, tmp_path: Path) -> None:
    summaries = {}
    for cuba in ("stock", "auto", "torch"):
        summaries[cuba] = loop.run_training(config(tiny_config, n_epochs=2, cuba=cuba), tmp_path / cuba)
        assert RunFolder(tmp_path / cuba).read_config().training.cuba == cuba
    stock = summaries.pop("stock")
    assert len(summaries) == 2
    for found in summaries.values():
        for part in ("train_accuracy", "val_accuracy", "test_accuracy"):
            # gradients differ in the last places, which Adam may carry over a weight's rounding to 8 bits
            assert getattr(found, part) == pytest.approx(getattr(stock, part), abs=0.05)
    assert stock.test_accuracy > 0.15  # better than chance, or there is nothing to compare


@pytest.mark.parametrize("cuba", ["stock", "auto", "c", "torch"])
def test_choice_is_what_the_layers_are(tiny_config: dict, cuba: str) -> None:
    if cuba == "c" and compiled.library() is None:
        pytest.skip("no C kernels")
    chosen = config(tiny_config, cuba=cuba).training.cuba
    spec = loop.resolve_model(config(tiny_config), loop.load_data(config(tiny_config))).encoder
    encoder = SlayerEncoder(spec, 1, chosen)
    blocks = import_slayer().block.cuba
    assert sum(type(block) in (blocks.Conv, blocks.Dense) for block in encoder.layers()) == (
        len(spec.layers) if cuba == "stock" else 0
    )
    assert all(isinstance(block, blocks.Conv | blocks.Dense) for block in encoder.layers())


def test_unknown_choice_is_refused(tiny_config: dict) -> None:
    with pytest.raises(ConfigError, match=r"training.cuba"):
        config(tiny_config, cuba="cuda")


def test_missing_kernels_are_named_before_anything_is_written(
    tiny_config: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "library", lambda: None)
    with pytest.raises(MissingDependencyError, match="got c, whose kernels were not built"):
        loop.run_training(config(tiny_config, cuba="c"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_only_stock_needs_nvcc(tiny_config: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(loop, "cuda_problem", lambda: "no nvcc")
    assert loop._accelerator(config(tiny_config, device="cuda").training) == "cuda"
    with pytest.raises(MissingDependencyError, match=r"no nvcc. Set training.cuba to auto, install nvcc"):
        loop._accelerator(config(tiny_config, device="cuda", cuba="stock").training)
