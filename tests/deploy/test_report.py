"""The report without a browser: what it holds, what it says is missing, and what it does with bad files."""

import json
import re
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from sqdr.bundle import Bundle
from sqdr.cli.app import app
from sqdr.deploy.heads.lightcone import bloch_vectors
from sqdr.deploy.heads.statevector import StatevectorHead
from sqdr.deploy.report import SECTIONS, Report, ReportOptions, write_report
from sqdr.deploy.report.figures import write_figures
from sqdr.deploy.report.page import json_text
from sqdr.deploy.report.rows import read_rows
from sqdr.deploy.report.sources import find_sources
from sqdr.deploy.run import run_bundle
from sqdr.errors import BundleError, ConfigError, DataError, MissingDependencyError, StorageError
from sqdr.head import counts_to_angles

pytest.importorskip("plotly", reason="needs the report extra")
pytest.importorskip("sklearn", reason="needs the digits")

FAST = ReportOptions(skip=("equality", "fit", "budget"), n_samples=8)
# no mathematics, no XML, and in no Latin font
ODD = "\x00\u4e00$x_{${"
HOSTILE = "</script><img src=x onerror=alert(1)>'\"&\u2028"


@pytest.fixture(scope="module")
def results(bundle_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("ran") / "out"
    run_bundle(bundle_path, "digits:test", out, encoder="integer", device="local:sv", shots=50, seed=0, limit=120)
    return out


@pytest.fixture(scope="module")
def whole(results: Path, trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Report:
    out = tmp_path_factory.mktemp("report") / "report.html"
    return write_report(results, out, ReportOptions(run=trained_run, n_samples=12))


class Tags(HTMLParser):
    """All start tags and the text of scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.scripts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] == "script":
            self.scripts.append(data)


def page_of(report: Report) -> str:
    return report.path.read_text(encoding="utf-8")


def section(report: Report, name: str):
    return next(each for each in report.sections if each.name == name)


def page_data(report: Report) -> dict:
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page_of(report), re.S)[1])


def changed(bundle_path: Path, tmp_path: Path, change) -> Path:
    copy = tmp_path / "changed"
    shutil.copytree(bundle_path, copy)
    manifest = json.loads((copy / "manifest.json").read_text())
    change(manifest, copy)
    (copy / "manifest.json").write_text(json.dumps(manifest))
    return copy


def test_every_section_is_present_of_a_run_with_all_that_belongs_to_it(whole: Report) -> None:
    assert tuple(each.name for each in whole.sections) == SECTIONS
    assert [each.name for each in whole.sections if not each.is_present] == []


def test_page_holds_plotly_once_and_asks_no_network(whole: Report) -> None:
    text = page_of(whole)
    assert text.count("plotly.js v") == 1
    tags = Tags(text).tags
    links = [value for tag, attributes in tags for key, value in attributes.items() if key in ("src", "href")]
    assert links
    assert [link for link in links if link and not link.startswith(("#", "data:image/png;base64,"))] == []
    assert "default-src 'none'" in text


def test_samples_follow_the_pipeline(whole: Report, bundle_path: Path) -> None:
    data = page_data(whole)["samples"]
    shown = data["samples"]
    assert len(shown) == 12
    assert shown[0]["isWrong"]
    assert not any(sample["isOther"] for sample in shown)  # the run's counts are the integer runtime's
    with Bundle.open(bundle_path) as bundle:
        model, parameters = bundle.manifest.model, bundle.head_parameters()
    counts = np.array([sample["counts"] for sample in shown])
    angles = counts_to_angles(counts, model.coding.n_steps, parameters.scale_rad, model.head)
    np.testing.assert_allclose([sample["angles"] for sample in shown], angles, atol=1e-4)  # rounded to 4 decimals
    lengths = np.linalg.norm([sample["bloch"] for sample in shown], axis=-1)
    np.testing.assert_allclose(lengths, 1, atol=2e-4)  # likewise
    assert len(shown[0]["rasters"]) == len(data["layers"]) == len(model.encoder.layers)


def test_bloch_vectors_are_what_a_one_block_circuit_measures() -> None:
    rng = np.random.default_rng(0)
    angles, weights = rng.normal(size=(5, 3, 3)), rng.normal(size=(2, 3, 3))
    vectors = bloch_vectors(angles, weights)
    z = StatevectorHead(weights=weights[:1], entangler="ring").expectations(angles)
    np.testing.assert_allclose(vectors[..., 2], z, atol=1e-12)  # rounding
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=-1), 1, atol=1e-12)


def test_bundle_alone_says_what_it_lacks(bundle_path: Path, tmp_path: Path) -> None:
    report = write_report(bundle_path, tmp_path / "r.html", FAST)
    assert "--run" in section(report, "training").missing[0]
    assert section(report, "misclassified").is_present
    assert "--skip fit" in section(report, "fit").missing[0]
    assert "--results" in section(report, "cost").missing[0]


def test_bundle_without_data_and_validation_shows_golden_samples(
    bundle_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def drop(manifest: dict, folder: Path) -> None:
        del manifest["files"]["validation.npz"]
        (folder / "validation.npz").unlink()
        manifest["training"]["data"] = "nothing"

    bundle = changed(bundle_path, tmp_path, drop)
    report = write_report(bundle, tmp_path / "r.html", FAST)
    assert not section(report, "confusion").is_present
    assert "--input" in section(report, "confusion").missing[0]
    assert not section(report, "misclassified").is_present
    assert section(report, "samples").is_present
    assert "golden" in section(report, "samples").content["source"]


def test_bundle_without_data_takes_its_validation_samples(bundle_path: Path, tmp_path: Path) -> None:
    bundle = changed(bundle_path, tmp_path, lambda manifest, _: manifest["training"].update(data="nothing"))
    report = write_report(bundle, tmp_path / "r.html", FAST)
    assert "validation" in section(report, "confusion").content["source"]


def test_run_without_export_shows_curves_and_circuit(trained_run: Path, tmp_path: Path) -> None:
    report = write_report(trained_run, tmp_path / "r.html", FAST)
    present = [each.name for each in report.sections if each.is_present]
    assert present == ["training", "circuit", "timings", "versions"]
    for name in ("confusion", "samples"):
        assert f"sqdr export {trained_run}" in " ".join(section(report, name).missing)
    report = write_report(trained_run, tmp_path / "r.html", ReportOptions())
    assert f"sqdr export {trained_run}" in section(report, "fit").missing[0]


def test_killed_run_shows_the_epochs_that_it_logged(trained_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "killed"
    shutil.copytree(trained_run, run)
    for name in ("summary.json", "metrics.csv", "curves.png"):
        (run / name).unlink()
    log = next((run / "logs").glob("attempt-*/metrics.csv"))
    log.write_bytes(log.read_bytes()[:-7] + b"\xff\xfe")
    report = write_report(run, tmp_path / "r.html", FAST)
    training = section(report, "training")
    assert training.is_present
    assert f"sqdr train --resume {run}" in training.missing[0]
    log.write_bytes(b"")
    training = section(write_report(run, tmp_path / "r.html", FAST), "training")
    assert not training.is_present
    assert len(training.missing) == 2


def test_broken_off_results_are_counted(results: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(results, out)
    lines = (out / "results.jsonl").read_text().splitlines()
    (out / "results.jsonl").write_text("\n".join(lines[:40]) + "\n" + lines[40][:30])
    report = write_report(out, tmp_path / "r.html", FAST)
    said = " ".join(section(report, "confusion").missing)
    assert "1 lines of results.jsonl cannot be read" in said
    assert "79 of 120 results are missing" in said
    assert f"sqdr run --resume {out}" in said
    (out / "results.jsonl").rename(out / "results.partial.jsonl")
    (out / "summary.json").unlink()
    report = write_report(out, tmp_path / "r.html", FAST)
    assert "The run is unfinished" in " ".join(section(report, "confusion").missing)
    assert "--resume" in " ".join(section(report, "cost").missing)
    assert section(report, "confusion").is_present


def test_results_whose_bundle_is_gone_or_damaged_still_make_a_report(results: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(results, out)
    request = json.loads((out / "run.json").read_text())
    request["bundle"] = str(tmp_path / "gone")
    (out / "run.json").write_text(json.dumps(request))
    report = write_report(out, tmp_path / "r.html", FAST)
    assert "--bundle" in " ".join(section(report, "samples").missing)
    assert section(report, "confusion").is_present
    (tmp_path / "gone").write_bytes(b"no bundle")
    report = write_report(out, tmp_path / "r.html", ReportOptions(n_samples=4))
    assert "cannot be read" in section(report, "fit").missing[0]


BAD_ROWS = (
    b"[]\n",
    b"{}\n",
    b'{"sample_id": 1}\n',
    b"\xff\xfe\n",
    b"[" * 100_000 + b"\n",
    b'{"sample_id": "a", "counts": [1], "expectations": [NaN], "logits": [1, 2], "predicted": 0, "label": null}\n',
    b'{"sample_id": "a", "counts": [1], "expectations": [1], "logits": [1, 2], "predicted": 7, "label": null}\n',
    b'{"sample_id": "a", "counts": [-1], "expectations": [1], "logits": [1, 2], "predicted": 0, "label": null}\n',
    b'{"sample_id": "a", "counts": [1], "expectations": [1e999], "logits": [1, 2], "predicted": 0, "label": null}\n',
    b'{"sample_id": "a", "counts": [' + b"9" * 400 + b'], "expectations": [1], "logits": [1], "predicted": 0, '
    b'"label": null}\n',
    b'{"sample_id": "a", "counts": [true], "expectations": [1], "logits": [1, 2], "predicted": 0, "label": null}\n',
)


def test_rows_that_are_none_are_counted_and_left_out(tmp_path: Path) -> None:
    good = b'{"sample_id": "a", "counts": [1], "expectations": [0.5], "logits": [1, 2], "predicted": 1, "label": 0}\n'
    longer = good.replace(b"[1]", b"[1, 2]")
    (tmp_path / "results.jsonl").write_bytes(good + b"".join(BAD_ROWS) + longer + good)
    rows = read_rows(tmp_path)
    assert (len(rows.ids), rows.n_unreadable) == (2, len(BAD_ROWS) + 1)
    (tmp_path / "results.jsonl").write_bytes(b"".join(BAD_ROWS))
    with pytest.raises(DataError, match="no row that can be read"):
        read_rows(tmp_path)


@pytest.mark.slow
def test_hostile_names_are_escaped(results: Path, bundle_path: Path, tmp_path: Path) -> None:
    bundle = changed(
        bundle_path,
        tmp_path,
        lambda manifest, _: manifest.update(
            class_names=[f"{k}\x00\u4e00$x_{{${HOSTILE}" for k in range(10)],
            versions={HOSTILE: HOSTILE},
            notes=[HOSTILE],
        ),
    )
    out = tmp_path / f"out{HOSTILE.replace('/', '')}"
    shutil.copytree(results, out)
    rows = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    for row in rows:
        row["sample_id"] = HOSTILE + row["sample_id"]
    (out / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (out / "summary.json").write_text(json.dumps({"seconds": {HOSTILE: 1}, "cost_usd": HOSTILE, "n_samples": HOSTILE}))
    report = write_report(out, tmp_path / "r.html", ReportOptions(bundle=bundle, n_samples=4))
    for path in write_figures(report, tmp_path / "figures"):
        if path.suffix == ".svg":
            ElementTree.fromstring(path.read_bytes())
            assert b"<img" not in path.read_bytes()
    page = Tags(page_of(report))
    assert HOSTILE not in page_of(report)
    assert [tag for tag, attributes in page.tags if any(key.startswith("on") for key in attributes)] == []
    assert sum(tag == "script" for tag, _ in page.tags) == 3
    assert page_data(report)["samples"]["samples"][0]["id"].startswith(HOSTILE)


def test_json_text_cannot_end_its_script() -> None:
    text = json_text({HOSTILE: [HOSTILE]})
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == {HOSTILE: [HOSTILE]}


def test_size_is_bounded_by_the_samples(results: Path, tmp_path: Path) -> None:
    small = write_report(results, tmp_path / "a.html", FAST)
    large = write_report(results, tmp_path / "b.html", ReportOptions(skip=FAST.skip, n_samples=100))
    assert len(page_data(large)["samples"]["samples"]) == 100
    assert (large.n_bytes - small.n_bytes) / 92 < 8_000
    with pytest.raises(ConfigError, match="samples"):
        write_report(results, tmp_path / "a.html", ReportOptions(n_samples=257))


def test_another_file_is_not_replaced_unasked(trained_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "thesis.html"
    out.write_text("mine")
    with pytest.raises(StorageError, match="--overwrite"):
        write_report(trained_run, out, FAST)
    assert out.read_text() == "mine"
    write_report(trained_run, out, ReportOptions(skip=FAST.skip, overwrite=True))
    write_report(trained_run, out, FAST)  # an earlier report is
    with pytest.raises(StorageError, match="is a folder"):
        write_report(trained_run, tmp_path, FAST)


@pytest.mark.parametrize("name", ["nothing", "empty"])
def test_a_path_that_is_none_of_them_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(StorageError, match="Check the path|Name one of these"):
        find_sources(tmp_path / name)


def test_damaged_bundle_named_itself_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "b.sqdr").write_bytes(b"PK")
    with pytest.raises(BundleError, match=r"b\.sqdr"):
        write_report(tmp_path / "b.sqdr", tmp_path / "r.html", FAST)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"limit": 0}, "limit"),
        ({"shots": 0}, "shots"),
        ({"skip": ("cost",)}, "skip"),
        ({"source": "nothing:test"}, "not at hand"),
    ],
)
def test_bad_options_are_one_line(options: dict, message: str, bundle_path: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        write_report(bundle_path, tmp_path / "r.html", ReportOptions(**options))


def test_without_plotly_the_extra_is_named(trained_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    with pytest.raises(MissingDependencyError, match=r"sqdr\[report\]"):
        write_report(trained_run, tmp_path / "r.html", FAST)


def test_parquet_results_are_the_same_rows(results: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow

    rows = [json.loads(line) for line in (results / "results.jsonl").read_text().splitlines()]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "results.parquet")
    one, other = read_rows(results), read_rows(tmp_path)
    assert one.ids == other.ids
    for name in ("labels", "counts", "expectations", "logits", "predicted"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    (tmp_path / "results.parquet").write_bytes(b"PAR1 no table")
    with pytest.raises(DataError, match=r"results\.parquet"):
        read_rows(tmp_path)


def test_demo_folder_is_followed(results: Path, trained_run: Path, bundle_path: Path, tmp_path: Path) -> None:
    demo = tmp_path / "demo"
    demo.mkdir()
    (demo / ".sqdr-demo").touch()
    (demo / "run").symlink_to(trained_run)
    report = write_report(demo, tmp_path / "r.html", FAST)
    assert "sqdr demo" in " ".join(section(report, "confusion").missing)
    (demo / "bundle").symlink_to(bundle_path)
    (demo / "sampled").symlink_to(results)
    (demo / "summary.json").write_text(json.dumps({"seconds": {"train": 1.5, "export": 2}}))
    report = write_report(demo, tmp_path / "r.html", FAST)
    assert report.sources.kind == "demo"
    assert "The demo" in [table["title"] for table in section(report, "timings").content["tables"]]
    assert section(report, "samples").is_present


@pytest.mark.slow
def test_figures_are_png_and_svg_and_the_same_every_time(whole: Report, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    first, second = write_figures(whole, tmp_path / "a"), write_figures(whole, tmp_path / "b")
    names = {path.stem for path in first}
    assert {"training", "confusion", "misclassified", "rasters", "sample", "circuit", "error-budget"} <= names
    assert any(name.startswith("cores-") for name in names)
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name
        if one.suffix == ".png":
            with Image.open(one) as image:
                assert np.asarray(image.convert("L"), float).std() > 5, f"{one.name} is empty"
        else:
            assert one.read_text().rstrip().endswith("</svg>")


def test_command_prints_one_json(trained_run: Path, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    arguments = [
        "report",
        str(trained_run),
        "--out",
        str(tmp_path / "r.html"),
        "--figures",
        str(tmp_path / "f"),
        "--json",
    ]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    data = json.loads(done.stdout)
    assert tuple(data["sections"]) == SECTIONS
    assert data["sections"]["training"] == {"present": True, "missing": []}
    assert not data["sections"]["fit"]["present"]
    assert data["n_bytes"] == (tmp_path / "r.html").stat().st_size
    assert {Path(path).name for path in data["figures"]} >= {"training.png", "training.svg", "circuit.svg"}
