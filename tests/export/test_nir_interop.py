"""The NIR file in other toolkits: imported by their released packages and run on the golden samples.

snnTorch and norse import every node. sinabs 3.1.3 does not: its importer has no case for CubaLIF or
Linear (sinabs/nir.py, `_import_sinabs_module`), and it wants nir <= 1.0.4.
"""

import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sqdr.bundle import Bundle
from sqdr.coding import encode_images
from sqdr.netx import read_network

nir = pytest.importorskip("nir", reason="needs the package nir")
torch = pytest.importorskip("torch", reason="needs the train extra")

from sqdr.export.to_nir import DT_S, nir_graph, write_nir  # noqa: E402


@pytest.fixture
def exported(bundle_path: Path, tmp_path: Path) -> SimpleNamespace:
    """The graph read back from a file, and the golden samples as the toolkits take them."""
    with Bundle.open(bundle_path) as bundle:
        model, golden = bundle.manifest.model, bundle.golden()
        layers = read_network(bundle.path_of("encoder.net"))
    write_nir(nir_graph(layers, model.encoder.input_shape, model.coding.n_steps, {}), tmp_path / "encoder.nir")
    spikes = torch.from_numpy(encode_images(golden.images, model.coding)).float()
    return SimpleNamespace(graph=nir.read(tmp_path / "encoder.nir"), spikes=spikes, trains=golden.spike_trains)


def step_through(network: Any, spikes: Any) -> NDArray[Any]:
    """Feed (N, C, H, W, T) step by step, the whole batch at once; return (N, F, T)."""
    state, outputs = None, []
    with torch.no_grad():
        for t in range(spikes.shape[-1]):
            output, state = network(spikes[..., t], state)
            outputs.append(output.numpy())
    return np.stack(outputs, axis=-1)


def assert_golden(found: NDArray[Any], golden: NDArray[np.uint8]) -> None:
    assert found.shape == golden.shape
    assert golden.any()
    # Both compute in float32 and keep the fraction that Lava's integers drop. Measured: 0 of 160 spikes
    # differ (and 0 of 576 on a network with a current decay of 0.4); one in a hundred is the margin.
    assert (found != golden).mean() <= 0.01


def test_snntorch_imports_and_runs_the_graph(exported: SimpleNamespace) -> None:
    with warnings.catch_warnings():  # theirs to clear, not ours
        warnings.simplefilter("ignore")
        pytest.importorskip("snntorch", reason="needs snntorch and nirtorch")
        from snntorch.import_nir import import_from_nir

        network = import_from_nir(exported.graph)
        assert_golden(step_through(network, exported.spikes), exported.trains)


def test_norse_imports_and_runs_the_graph(exported: SimpleNamespace) -> None:
    with warnings.catch_warnings():  # nirtorch deprecates what norse calls
        warnings.simplefilter("ignore")
        norse = pytest.importorskip("norse.torch", reason="needs norse and nirtorch")
        network = norse.from_nir(exported.graph, dt=DT_S)
        assert_golden(step_through(network, exported.spikes), exported.trains)


def test_norse_needs_the_step_of_the_file(exported: SimpleNamespace) -> None:
    # its default of 1 ms is not the file's 0.1 ms; this is why the metadata says `dt`
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        norse = pytest.importorskip("norse.torch", reason="needs norse and nirtorch")
        trains = step_through(norse.from_nir(exported.graph), exported.spikes)
    assert exported.graph.metadata["dt"] == DT_S
    assert (trains != exported.trains).any()
