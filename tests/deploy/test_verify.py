"""`verify` says EQUAL of equal stages only, and where the first difference is."""

import sys
from pathlib import Path

import numpy as np
import pytest

from sqdr.deploy.verify import compare_expectations, compare_spikes, verify_bundle
from sqdr.errors import BundleError, DataError, MissingDependencyError, NotEqualError

# An encoder of somebody else's, found by its entry point as any installed one.
FLIPPING_ENCODER = """
from sqdr.train.slayer_backend import SlayerBackend

class Flipping(SlayerBackend):
    name = "flipping"

    def spike_trains(self, spikes):
        trains = super().spike_trains(spikes)
        if len(trains) > 4:
            trains[4, 2, 3] ^= 1
            trains[5, 0, 0] ^= 1
        return trains

class Absent:
    @classmethod
    def from_bundle(cls, bundle):
        from sqdr.errors import MissingDependencyError
        raise MissingDependencyError("not on this machine")
"""


def install(folder: Path, **encoders: str) -> None:
    """Make encoders known as an installed package would."""
    info = folder / "other_encoders-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other-encoders\nVersion: 1.0\n")
    lines = [f"{name} = {target}" for name, target in encoders.items()]
    (info / "entry_points.txt").write_text("\n".join(["[sqdr.encoders]", *lines, ""]))
    (folder / "other_encoders.py").write_text(FLIPPING_ENCODER)


@pytest.fixture
def no_lava(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Lava's worker has no Lava, which spares its start."""
    monkeypatch.setenv("SQDR_LAVA_PYTHON", str(tmp_path / "no-python"))


def test_every_stage_of_an_exported_bundle_is_equal(bundle_path: Path, no_lava: None) -> None:
    rows = verify_bundle(bundle_path, n_samples=7).rows
    assert {(row.source, row.target) for row in rows} >= {
        ("trained model", "slayer"),
        ("trained model", "pennylane:default.qubit"),
        ("trained model", "local:braket-sv"),
        ("pennylane:default.qubit", "local:braket-sv"),
    }
    assert all(row.equal and row.n_different == 0 and row.n_compared > 0 and not row.where for row in rows)
    assert rows[0].max_abs_difference == 0
    assert max(row.max_abs_difference for row in rows) <= 1e-10
    assert rows[-1].n_samples == 7


@pytest.mark.lava
@pytest.mark.skipif(sys.version_info[:2] != (3, 10), reason="Lava runs on Python 3.10 only")
def test_lava_is_compared_with_the_trained_model_and_with_slayer(bundle_path: Path) -> None:
    pytest.importorskip("lava", reason="needs the lava extra")
    rows = [row for row in verify_bundle(bundle_path, n_samples=40).rows if row.target == "lava"]
    assert [(row.source, row.n_different, row.equal) for row in rows] == [
        ("trained model", 0, True),
        ("slayer", 0, True),
    ]
    assert rows[1].n_samples == 40


def test_encoder_that_differs_is_found_with_the_first_place(
    bundle_path: Path, no_lava: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, flipping="other_encoders:Flipping", absent="other_encoders:Absent")
    monkeypatch.syspath_prepend(str(tmp_path))
    rows = {(row.source, row.target): row for row in verify_bundle(bundle_path, n_samples=9).rows}
    assert rows["trained model", "slayer"].equal
    row = rows["slayer", "flipping"]
    assert (row.equal, row.n_different, row.max_abs_difference) == (False, 2, 1.0)
    assert row.where.startswith("first at sample 4, feature 2, time step 3: slayer ")
    assert not rows["trained model", "flipping"].equal
    assert not any(target == "absent" for _, target in rows)


def test_verify_reads_a_folder_or_array_of_ones_own(bundle_path: Path, no_lava: None, tmp_path: Path) -> None:
    images = np.random.default_rng(1).integers(0, 256, (3, 8, 8), dtype=np.uint8)
    np.save(tmp_path / "mine.npy", images)
    rows = verify_bundle(bundle_path, n_samples=32, source=str(tmp_path / "mine.npy")).rows
    assert all(row.equal for row in rows)
    assert rows[-1].n_samples == 3


def test_verify_refuses_what_it_cannot_read(bundle_path: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"nowhere does not exist"):
        verify_bundle(tmp_path / "nowhere")
    with pytest.raises(DataError, match="`input` 'nothing:test' is no folder"):
        verify_bundle(bundle_path, source="nothing:test")


def test_verify_needs_an_encoder(bundle_path: Path, monkeypatch: pytest.MonkeyPatch, no_lava: None) -> None:
    monkeypatch.setitem(sys.modules, "sqdr.train.slayer_backend", None)  # as without the train extra
    with pytest.raises(MissingDependencyError, match="no encoder can run here: .*'slayer'.*Lava"):
        verify_bundle(bundle_path, n_samples=1)


def test_compare_spikes_counts_every_difference() -> None:
    expected = np.zeros((2, 3, 4), np.uint8)
    found = expected.copy()
    found[1, 2, 3] = found[1, 0, 1] = 1
    row = compare_spikes("a", "b", expected, found, 0.5)
    assert (row.n_samples, row.n_compared, row.n_different, row.equal) == (2, 24, 2, False)
    assert row.where == "first at sample 1, feature 0, time step 1: a 0, b 1"
    assert compare_spikes("a", "b", expected, expected.copy(), 0.0).equal


@pytest.mark.parametrize("shape", [(2, 3, 5), (2, 3, 1), (1, 3, 4), (2, 3)], ids=str)
def test_compare_spikes_refuses_another_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(NotEqualError, match=r"a gives an array \(2, 3, 4\) and b one"):
        compare_spikes("a", "b", np.zeros((2, 3, 4), np.uint8), np.zeros(shape, np.uint8), 0.0)


@pytest.mark.parametrize(
    ("difference", "is_equal"), [(0.0, True), (9e-11, True), (2e-10, False), (-1e-3, False), (np.nan, False)]
)
def test_compare_expectations_holds_the_tolerance(difference: float, is_equal: bool) -> None:
    expected = np.full((3, 2), 0.25)
    found = expected.copy()
    found[2, 1] += difference
    row = compare_expectations("a", "b", expected, found, 0.0)
    assert (row.equal, row.n_different) == (is_equal, int(not is_equal))
    assert row.where.startswith("" if is_equal else "first at sample 2, qubit 1: a 0.250000000000, b ")
    assert bool(row.where) is not is_equal


def test_compare_expectations_refuses_another_shape() -> None:
    with pytest.raises(NotEqualError, match=r"a gives an array \(3, 2\) and b one \(3, 1\)"):
        compare_expectations("a", "b", np.zeros((3, 2)), np.zeros((3, 1)), 0.0)
