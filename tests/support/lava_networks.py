"""Any netx file in Lava, for comparisons; each start takes seconds."""

import importlib
import importlib.util
import os
import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np
import pytest

from sqdr.deploy.encoders.lava import LavaEncoder
from sqdr.netx import read_network
from sqdr.timing import Timing

__all__ = ["HAS_LAVA", "NEEDS_LAVA", "import_lava", "lava_encoder"]

HAS_LAVA = sys.version_info[:2] == (3, 10) and importlib.util.find_spec("lava") is not None
NEEDS_LAVA = (pytest.mark.lava, pytest.mark.skipif(not HAS_LAVA, reason="Lava runs on Python 3.10 with `sqdr[lava]`"))
# The stock worker without the import of torch, which takes most of its start.
QUICK_WORKER = Path(__file__).parents[1] / "deploy" / "lava_fault_worker.py"


def import_lava(name: str) -> ModuleType:
    """Return a module of Lava in this process, or skip the test.

    Lava sets how multiprocessing starts processes when it is imported, to what it is already on Linux, and
    fails where anything has used multiprocessing before.
    """
    if not HAS_LAVA:
        pytest.skip("needs lava-nc and lava-dl")
    with warnings.catch_warnings(), mock.patch("multiprocessing.set_start_method"):
        warnings.simplefilter("ignore")
        return importlib.import_module(name)


def lava_encoder(
    path: Path, input_shape: tuple[int, int, int], n_steps: int, *, period: int | None = None, **options: Any
) -> LavaEncoder:
    """Return an encoder to enter, for samples of ``n_steps`` that follow one another every ``period`` steps.

    Lava's own models unless another ``graph`` is asked for: they are what the others are held against.
    """
    layers = [layer for layer in read_network(path) if layer.weight is not None]
    return LavaEncoder(
        path,
        input_shape=input_shape,
        n_outputs=int(np.prod(layers[-1].shape)),
        timing=Timing(n_steps=n_steps, period=period or n_steps, n_layers=len(layers)),
        worker_command=[sys.executable, os.fspath(QUICK_WORKER), "none", "0"],
        **{"graph": "stock"} | options,
    )
