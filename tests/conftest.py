"""Fixtures shared by all tests: one small trained run and its bundle, made once per session."""

import signal
import warnings
from pathlib import Path

import pytest
from hypothesis import settings

# the same examples on every run, however slow the machine
settings.register_profile("fixed", derandomize=True, deadline=None)
settings.load_profile("fixed")

# started in the background by a shell, all would ignore Ctrl-C, which tests send
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

TINY_CONFIG = {
    "data": {"name": "digits"},
    "coding": {"kind": "rate", "n_steps": 5},
    "encoder": {"preset": "digits_tiny", "initial_rate": 0.2},
    "head": {"n_qubits": 4, "n_blocks": 2},
    "training": {"n_epochs": 2, "batch_size": 64, "encoder_lr": 0.05, "device": "cpu", "n_threads": 1},
}


@pytest.fixture(scope="session")
def tiny_config() -> dict:
    """A configuration that trains in seconds, badly but really."""
    return TINY_CONFIG


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run folder of the tiny configuration."""
    pytest.importorskip("torch", reason="needs the train extra")
    from sqdr.train.api import train

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return train(TINY_CONFIG, tmp_path_factory.mktemp("trained") / "run").path


@pytest.fixture(scope="session")
def bundle_path(trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of `trained_run`; tests that change it must copy it first."""
    from sqdr.export.api import export

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = tmp_path_factory.mktemp("exported") / "bundle"
        # not Lava, whose start takes seconds; it has tests of its own
        export(trained_run, path, against=("slayer", "integer", "onnx", "classifier.onnx", "local:sv"))
    return path
