"""The command line: exit codes, one-line errors, one JSON object, and no secret shown."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from sqdr.bundle import Bundle, sha256_of
from sqdr.cli import main
from sqdr.deploy.fakes import FakeBraket

COMMAND = Path(sys.executable).with_name("sqdr")
SV1 = "arn:aws:braket:::device/quantum-simulator/amazon/sv1"
GARNET = "arn:aws:braket:eu-north-1::device/qpu/iqm/Garnet"
AWS_VARIABLES = [name for name in os.environ if name.startswith(("AWS_", "AMZN_", "BRAKET_"))]

OTHER_PACKAGE = """
import numpy as np

from sqdr.data import DataSplits, Images
from sqdr.errors import BackendCrashError
from sqdr.train.slayer_backend import SlayerBackend

def load_letters(root):
    names = tuple("abcdefghijklmnopqrstuvwxyz")
    part = Images(images=np.zeros((26, 1, 8, 8), np.uint8), labels=np.arange(26), sample_ids=names)
    return DataSplits(name="letters", train=part, validation=part, test=part, class_names=names)

class Flipping(SlayerBackend):
    def spike_trains(self, spikes):
        trains = super().spike_trains(spikes)
        trains[1, 2, 3] ^= 1
        return trains

class Crashing(SlayerBackend):
    n_calls = 0
    def encode(self, spikes):
        self.n_calls += 1
        if self.n_calls == 4:  # two checks of the golden samples come first
            raise BackendCrashError("the worker was killed")
        return super().encode(spikes)

class Interrupted(SlayerBackend):
    def encode(self, spikes):
        raise KeyboardInterrupt

class Surprising(SlayerBackend):
    def encode(self, spikes):
        raise ZeroDivisionError("division by\\nzero")
"""


@dataclass(frozen=True)
class Ended:
    """How one command ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """The one JSON object on standard output."""
        assert self.out.startswith("{"), self.out
        return json.loads(self.out)

    def error(self) -> str:
        """The one line on standard error."""
        assert "Traceback" not in self.out + self.err
        lines = self.err.splitlines()
        assert len(lines) == 1, self.err
        assert lines[0].startswith("error: ")
        return lines[0]


Run = Callable[..., Ended]


@pytest.fixture(autouse=True)
def _clean_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No credentials, no data, no debugging, and an empty folder to work in."""
    for name in (*AWS_VARIABLES, "SQDR_DEBUG", "SQDR_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "home").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    # spares the start of Lava's worker where a test does not mean Lava
    monkeypatch.setenv("SQDR_LAVA_PYTHON", str(tmp_path / "no-python"))
    monkeypatch.chdir(tmp_path / "work")


@pytest.fixture
def sqdr(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run the command in this process, as the console script does."""

    def run(*arguments: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["sqdr", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit, match="") as ended:
            main()
        code = ended.value.code
        assert isinstance(code, int)
        return Ended(code, *capfd.readouterr())

    return run


def sqdr_process(*arguments: object) -> Ended:
    """Run the installed console script."""
    command = [str(COMMAND), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    return Ended(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def other_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Encoders and a data set of an installed package of somebody else's."""
    info = tmp_path / "site" / "other_package-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other-package\nVersion: 1.0\n")
    kinds = ("Flipping", "Crashing", "Interrupted", "Surprising")
    lines = [f"{kind.lower()} = cli_other_package:{kind}" for kind in kinds]
    lines += ["[sqdr.datasets]", "letters = cli_other_package:load_letters"]
    (info / "entry_points.txt").write_text("\n".join(["[sqdr.encoders]", *lines, ""]))
    (tmp_path / "site" / "cli_other_package.py").write_text(OTHER_PACKAGE)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))


def run_of(bundle: Path, *more: object, source: object = "digits:test") -> list[object]:
    return ["run", bundle, "--input", source, "--out", "out", "--encoder", "slayer", *more]


def reseal(bundle: Path, **changes: Any) -> None:
    """Rewrite a bundle's manifest, hashes included."""
    path = bundle / "manifest.json"
    manifest = json.loads(path.read_text()) | changes
    manifest["files"] = {name: sha256_of(bundle / name).model_dump() for name in manifest["files"]}
    path.write_text(json.dumps(manifest))


# -- what works


def test_run_writes_results_and_prints_their_summary_as_json(sqdr: Run, bundle_path: Path) -> None:
    ended = sqdr(*run_of(bundle_path, "--limit", 20, "--shots", 100, "--seed", 1, "--json"))
    assert (ended.code, ended.err) == (0, "")
    summary = ended.json()
    assert summary == json.loads(Path("out/summary.json").read_text())
    assert summary["n_samples"] == 20
    assert (summary["n_circuits"], summary["n_shots"], summary["cost_usd"]) == (20, 2000, "0")
    rows = [json.loads(line) for line in Path(summary["results"]).read_text().splitlines()]
    assert [row["sample_id"] for row in rows] == list(dict.fromkeys(row["sample_id"] for row in rows))
    right = [row["predicted"] == row["label"] == int(np.argmax(row["logits"])) for row in rows]
    assert summary["accuracy"] == pytest.approx(np.mean(right))
    assert Path("out/confusion.png").read_bytes().startswith(b"\x89PNG")


def test_run_without_json_prints_a_table(sqdr: Run, bundle_path: Path) -> None:
    np.save("mine.npy", np.zeros((2, 8, 8), np.uint8))
    ended = sqdr(*run_of(bundle_path, "--format", "parquet", "--out", "out[/red]:bug:", source="mine.npy"))
    assert (ended.code, ended.err) == (0, "")
    assert "out[/red]:bug:" in ended.out  # as it is: no markup, no emoji
    assert "no labels" in ended.out
    assert sorted(path.name for path in Path("out[/red]:bug:").iterdir()) == [
        "results.parquet",
        "run.json",
        "summary.json",
    ]


def test_verify_prints_rows_as_json(sqdr: Run, bundle_path: Path) -> None:
    ended = sqdr("verify", bundle_path, "--samples", 3, "--json")
    assert (ended.code, ended.err) == (0, "")
    verdict = ended.json()
    assert verdict["equal"] is True
    assert len(verdict["rows"]) >= 4
    assert {"source", "target", "n_samples", "n_compared", "n_different", "max_abs_difference", "equal"} <= set(
        verdict["rows"][0]
    )


def test_verify_of_stages_that_differ_ends_with_1_and_says_where(
    sqdr: Run, bundle_path: Path, other_package: None
) -> None:
    table = sqdr("verify", bundle_path, "--samples", 3, "--against", "integer", "--against", "flipping")
    assert table.code == 1
    assert table.error() == "error: two stages differ, see the table"
    assert "NOT EQUAL" in table.out
    assert "integer -> flipping: first at sample 1, feature 2, time step 3: integer " in table.out
    assert "likely cause: " in table.out


def test_verify_of_stages_that_differ_prints_one_json_object(sqdr: Run, bundle_path: Path, other_package: None) -> None:
    ended = sqdr("verify", bundle_path, "--samples", 3, "--against", "flipping", "--json")
    assert (ended.code, ended.error()) == (1, "error: two stages differ, see the rows")
    verdict = ended.json()
    assert verdict["equal"] is False
    assert [row["target"] for row in verdict["rows"] if not row["equal"]] == ["flipping", "flipping"]


def test_export_prints_the_manifest_as_json(sqdr: Run, trained_run: Path) -> None:
    ended = sqdr("export", trained_run, "--out", "model.sqdr", "--json")
    assert (ended.code, ended.err) == (0, "")
    assert ended.json()["bundle"] == "model.sqdr"
    with Bundle.open("model.sqdr") as bundle:
        assert ended.json()["files"].keys() == bundle.manifest.files.keys()
    again = sqdr("export", trained_run, "--out", "model.sqdr")
    assert again.code == 2
    assert "model.sqdr exists already. Choose another --out, or add --overwrite." in again.error()


def test_console_script_trains_and_prints_one_json_object(tiny_config: dict[str, Any]) -> None:
    config = tiny_config | {"training": tiny_config["training"] | {"n_epochs": 1}}
    Path("tiny.yaml").write_text(yaml.safe_dump(config))
    ended = sqdr_process("train", "--config", "tiny.yaml", "--out", "run", "--seed", 3, "--json")
    assert ended.code == 0, ended.err
    assert {"run", "test_accuracy", "val_accuracy", "n_parameters", "seconds"} <= set(ended.json())
    assert ended.json()["seed"] == 3
    assert "Traceback" not in ended.err


def test_console_script_runs_a_bundle_and_prints_one_json_object(bundle_path: Path) -> None:
    ended = sqdr_process(*run_of(bundle_path, "--limit", 4, "--json"))
    assert ended.code == 0, ended.err
    assert ended.json()["n_samples"] == 4
    assert ended.err == ""


def test_console_script_says_its_version() -> None:
    assert sqdr_process("--version") == Ended(0, "sqdr 0.1.0\n", "")


def test_doctor_prints_one_json_object_and_no_secret(sqdr: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7PLANTED")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted/secret/value")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "planted-session-token")
    for arguments in (["doctor", "--json"], ["doctor"]):
        ended = sqdr(*arguments)
        assert ended.code == 0
        assert "PLANTED" not in ended.out + ended.err
        assert "planted" not in ended.out + ended.err
        assert "Lava" in ended.out or ended.json()["lava"]


def test_run_on_a_braket_service_shows_no_secret(sqdr: Run, bundle_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeBraket() as service:
        for name, value in service.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted/secret/value")
        ended = sqdr(*run_of(bundle_path, "--device", SV1, "--shots", 10, "--limit", 2, "--json"))
        assert ended.code == 0, ended.err
        assert ended.json()["n_circuits"] == 2
        assert len(service.tasks) == 3  # and the canary
        service.outcomes += [("FAILED", "account 123456789012 is out of luck")] * 3
        failed = sqdr("--debug", *run_of(bundle_path, "--device", SV1, "--shots", 10, "--limit", 3, "--overwrite"))
        assert failed.code == 3
        assert "1 of 3 circuits" in failed.err
    cost = sqdr("cost", "out", "--offline")
    assert cost.code == 0
    written = "".join(path.read_bytes().decode("latin-1") for path in Path("out").iterdir()) + cost.out + cost.err
    for text in (ended.out + ended.err, failed.out + failed.err, written):
        assert "planted" not in text
        assert "AKIA" not in text
        assert "123456789012" not in text


# -- bad input: exit code 2 and one line


def corrupt(bundle: Path) -> None:
    (bundle / "manifest.json").write_text('{"schema_version": 1,')


def truncate(bundle: Path) -> None:
    content = (bundle / "golden.npz").read_bytes()
    (bundle / "golden.npz").write_bytes(content[: len(content) // 2])


def change_a_byte(bundle: Path) -> None:
    content = bytearray((bundle / "encoder.net").read_bytes())
    content[-100] ^= 1
    (bundle / "encoder.net").write_bytes(content)


def lose_a_file(bundle: Path) -> None:
    (bundle / "circuit.qasm").unlink()


def make_newer(bundle: Path) -> None:
    reseal(bundle, schema_version=2)


def damage_inside(name: str) -> Callable[[Path], None]:
    """Damage a file and seal the bundle again, so that its hash holds."""

    def damage(bundle: Path) -> None:
        (bundle / name).write_bytes((bundle / name).read_bytes()[:60])
        reseal(bundle)

    return damage


def zip_badly(bundle: Path) -> None:
    shutil.rmtree(bundle)
    bundle.write_bytes(b"PK\x03\x04 and then nothing of the kind")


BAD_BUNDLES: dict[str, tuple[Callable[[Path], None], str]] = {
    "not there": (shutil.rmtree, "bundle does not exist. Give a bundle folder or a .sqdr file."),
    "corrupt manifest": (corrupt, "manifest.json is not readable JSON. Copy or export the bundle again."),
    "truncated file": (truncate, "golden.npz has "),
    "hash that does not match": (change_a_byte, "encoder.net does not match its SHA-256 in the manifest."),
    "file missing": (lose_a_file, "lacks the file circuit.qasm. Copy or export the bundle again."),
    "newer schema": (make_newer, "has schema 2 but this sqdr reads up to 1. Update sqdr."),
    "damaged head": (damage_inside("head.safetensors"), "head.safetensors is not a readable safetensors file."),
    "damaged golden samples": (damage_inside("golden.npz"), "golden.npz is not a readable set of golden samples."),
    "damaged network": (damage_inside("encoder.net"), "encoder.net is not a readable netx network. Export again."),
    "damaged circuit": (damage_inside("circuit.qasm"), "circuit.qasm is not the circuit"),
    "bad zip": (zip_badly, "is not a readable .sqdr file. Copy or export it again."),
}


@pytest.mark.parametrize(("damage", "message"), BAD_BUNDLES.values(), ids=BAD_BUNDLES)
def test_bad_bundle_is_one_line_and_code_2(
    sqdr: Run, bundle_path: Path, tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    shutil.copytree(bundle_path, copy := tmp_path / "bundle")
    damage(copy)
    ended = sqdr(*run_of(copy, "--limit", 2))
    assert ended.code == 2
    assert message in ended.error()
    assert ended.out == ""
    assert not Path("out/results.jsonl").exists()


@pytest.mark.parametrize("command", ["run", "verify"])
def test_error_with_json_is_one_object_too(sqdr: Run, command: str) -> None:
    more = ["--input", "x", "--out", "out"] if command == "run" else []
    ended = sqdr(command, "nowhere", *more, "--json")
    assert ended.code == 2
    line = ended.error()
    assert ended.json() == {"error": {"type": "BundleError", "message": line.removeprefix("error: ")}}


BAD_ARRAYS: dict[str, tuple[Any, str]] = {
    "size": (np.zeros((2, 8, 9), np.uint8), "`images` must be (C, H, W) = (1, 8, 8) each, got (1, 8, 9)."),
    "channels": (np.zeros((2, 3, 8, 8), np.uint8), "`images` must be (C, H, W) = (1, 8, 8) each, got (3, 8, 8)."),
    "axes": (np.zeros((8, 8), np.uint8), "`images` must have axes (N, C, H, W), got shape (8, 8)."),
    "type": (np.zeros((2, 8, 8)), "`images` must be uint8 with values 0..255, got float64."),
    "NaN": (np.full((2, 8, 8), np.nan), "`images` holds NaN. Remove or repair those images."),
    "empty": (np.zeros((0, 8, 8), np.uint8), "`images` is empty. Give at least one image."),
}


@pytest.mark.parametrize(("array", "message"), BAD_ARRAYS.values(), ids=BAD_ARRAYS)
def test_bad_images_are_one_line_and_code_2(sqdr: Run, bundle_path: Path, array: Any, message: str) -> None:
    np.save("mine.npy", array)
    ended = sqdr(*run_of(bundle_path, "--json", source="mine.npy"))
    assert ended.code == 2
    assert message in ended.error()
    assert message in ended.json()["error"]["message"]
    assert not Path("out").exists()


BAD_OPTIONS: dict[str, tuple[list[object], int, str]] = {
    "unknown input": (["--input", "digit:test"], 2, "`input` 'digit:test' is no folder, no .npy file and no"),
    "unknown part": (["--input", "digits:tset"], 2, "`split` must be one of train, validation, test, got 'tset'."),
    "absent data": (["--input", "mnist10k:test", "--data-root", "none"], 2, "t10k-images"),
    "unknown encoder": (["--encoder", "slyer"], 2, "unknown encoder 'slyer'. Did you mean 'slayer'?"),
    "unknown device": (["--device", "local:braket-sw"], 2, "Did you mean 'local:braket-sv'?"),
    "unknown PennyLane device": (["--device", "pennylane:default.qbit"], 2, "Did you mean 'default.qubit'?"),
    "unknown ARN form": (["--device", "arn:aws:s3:::bucket"], 2, "`device` must be an ARN such as arn:aws:braket:"),
    "no hardware file": (["--device", "mine.yaml"], 2, "mine.yaml"),
    "too many shots": (["--shots", 10**9], 2, "on local:braket-sv, got 1000000000."),
    "negative shots": (["--shots", -1], 2, "Invalid value for '--shots'"),
    "shots that are no number": (["--shots", "many"], 2, "Invalid value for '--shots'"),
    "no shots on a QPU": (["--device", GARNET], 2, "it needs `shots`"),
    "limit of nothing": (["--limit", 0], 2, "Invalid value for '--limit'"),
    "unknown format": (["--format", "xml"], 2, "Invalid value for '--format'"),
    "unknown option": (["--shot", 5], 2, "No such option: --shot"),
    "no credentials": (["--device", SV1, "--shots", 10], 3, "no AWS credentials found. Provide them as boto3 finds"),
    "no credentials for a QPU": (["--device", GARNET, "--shots", 10], 3, "no AWS credentials found."),
    "Lava that is not there": (["--encoder", "lava"], 3, "SQDR_LAVA_PYTHON"),
    "time-out of nothing": (["--encoder", "lava", "--timeout", 0], 2, "Invalid value for '--timeout'"),
}


@pytest.mark.parametrize(("options", "code", "message"), BAD_OPTIONS.values(), ids=BAD_OPTIONS)
def test_bad_option_is_one_line_and_its_code(
    sqdr: Run, bundle_path: Path, options: list[object], code: int, message: str
) -> None:
    ended = sqdr(*run_of(bundle_path, *options, "--json"))
    assert ended.code == code
    assert message in ended.error()
    assert set(ended.json()["error"]) == {"type", "message"}
    assert not [path.name for path in Path().glob("out/*") if path.name != "results.partial.jsonl"]


def test_bundle_for_more_qubits_than_the_device_has(sqdr: Run, bundle_path: Path) -> None:
    Path("small.yaml").write_text(
        "schema_version: 1\nkind: braket_local\nname: small\ndescription: two qubits\nsimulator: braket_sv\n"
        "n_qubits: {value: 2, source: here, as_of: 2026-11}\n"
        "shots: {value: {min: 5, max: 10}, source: here, as_of: 2026-11}\n"
    )
    ended = sqdr(*run_of(bundle_path, "--device", "small.yaml"))
    assert ended.code == 2
    assert ended.error() == "error: small has 2 qubits, the circuit needs 4. Choose a larger device."
    Path("small.yaml").write_text(Path("small.yaml").read_text().replace("n_qubits", "n_qubit"))
    wrong_key = sqdr(*run_of(bundle_path, "--device", "small.yaml"))
    assert wrong_key.code == 2
    assert "unknown key 'n_qubit'; did you mean 'n_qubits'?" in wrong_key.error()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run"], "error: BUNDLE, --input, --out: needed unless --resume names an earlier run."),
        (["run", "b", "-i", "digits:test"], "error: --out: needed unless --resume names an earlier run."),
        (
            ["run", "b", "--resume", "out"],
            "error: `--resume` goes on with what the run was asked for: leave bundle",
        ),
        (["run", "--resume", "out"], "error: out holds no run to resume: No such file or directory. Name the --out"),
        (["cost", "out"], "error: out does not exist. A run on a paid device makes it"),
        (["tarin"], "error: No such command 'tarin'."),
        (["train"], "error: `--config` must name a YAML file or a packaged configuration. Try digits_small."),
        (["train", "--config", "digits_smal", "--out", "run"], "digits_small"),
        (["export", "nowhere", "--out", "b"], "nowhere"),
        (["verify", "nowhere", "--samples", "0"], "Invalid value for '--samples'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_usage_error_is_one_line_and_code_2(sqdr: Run, arguments: list[str], message: str) -> None:
    ended = sqdr(*arguments)
    assert ended.code == 2
    assert message in ended.error()
    assert ended.out == ""
    assert list(Path().iterdir()) == []


def test_config_with_an_unknown_key_names_the_nearest(sqdr: Run, tiny_config: dict[str, Any]) -> None:
    Path("tiny.yaml").write_text(yaml.safe_dump(tiny_config | {"trainning": {}}))
    ended = sqdr("train", "--config", "tiny.yaml", "--out", "run")
    assert ended.code == 2
    assert "unknown key 'trainning'; did you mean 'training'?" in ended.error()
    assert not Path("run").exists()


def test_no_command_shows_the_help(sqdr: Run) -> None:
    ended = sqdr()
    assert "Usage: sqdr" in ended.out + ended.err
    assert "error: " not in ended.err


def test_help_is_no_error(sqdr: Run) -> None:
    for arguments in (["--help"], ["run", "--help"]):
        ended = sqdr(*arguments)
        assert (ended.code, ended.err) == (0, "")
        assert "Usage: sqdr" in ended.out


# -- where results go


def test_results_that_cannot_be_written_are_one_line_and_code_2(sqdr: Run, bundle_path: Path) -> None:
    Path("file").write_text("in the way")
    ended = sqdr(*run_of(bundle_path, "--limit", 2, "--out", "file/out"))
    assert ended.code == 2
    assert "file/out cannot be written: Not a directory." in ended.error()


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="needs a file system that nobody may write to")
def test_no_permission_is_one_line_and_code_2(sqdr: Run, bundle_path: Path) -> None:
    ended = sqdr(*run_of(bundle_path, "--limit", 2, "--out", "/sys/kernel/sqdr-out"))
    assert ended.code == 2
    assert "/sys/kernel/sqdr-out cannot be written: " in ended.error()


def test_results_are_never_replaced_unasked(sqdr: Run, bundle_path: Path) -> None:
    assert sqdr(*run_of(bundle_path, "--limit", 2)).code == 0
    before = Path("out/results.jsonl").read_bytes()
    ended = sqdr(*run_of(bundle_path, "--limit", 3))
    assert ended.code == 2
    assert ended.error() == ("error: out holds results.jsonl already. Choose another --out, or add --overwrite.")
    assert Path("out/results.jsonl").read_bytes() == before
    assert sqdr(*run_of(bundle_path, "--limit", 3, "--overwrite")).code == 0
    assert len(Path("out/results.jsonl").read_text().splitlines()) == 3


def test_labels_outside_the_models_classes_are_refused_before_anything_runs(
    sqdr: Run, bundle_path: Path, other_package: None
) -> None:
    ended = sqdr(*run_of(bundle_path, source="letters:test"))
    assert (ended.code, ended.error()) == (2, "error: letters:test has the label 25, the model only 10 classes.")
    assert not Path("out").exists()


# -- a backend fails: exit code 3


def test_crash_in_the_middle_keeps_what_was_computed(sqdr: Run, bundle_path: Path, other_package: None) -> None:
    ended = sqdr(*run_of(bundle_path, "--limit", 40, "--encoder", "crashing", "--json"))
    assert ended.code == 3
    assert ended.error() == "error: the worker was killed"
    assert ended.json()["error"]["type"] == "BackendCrashError"
    assert sorted(path.name for path in Path("out").iterdir()) == ["results.partial.jsonl", "run.json"]
    assert len(Path("out/results.partial.jsonl").read_text().splitlines()) == 16


def test_interrupt_is_one_line_and_code_130(sqdr: Run, bundle_path: Path, other_package: None) -> None:
    ended = sqdr(*run_of(bundle_path, "--limit", 2, "--encoder", "interrupted", "--json"))
    assert (ended.code, ended.error()) == (130, "error: interrupted")
    assert ended.json()["error"]["type"] == "Interrupted"


def test_unforeseen_error_is_one_line_and_code_3(
    sqdr: Run, bundle_path: Path, other_package: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = run_of(bundle_path, "--limit", 2, "--encoder", "surprising")
    ended = sqdr(*arguments)
    assert ended.code == 3
    assert ended.error().startswith("error: unexpected ZeroDivisionError: division by zero. Run again with `sqdr --d")
    monkeypatch.setenv("SQDR_DEBUG", "1")
    debugged = sqdr(*arguments)
    assert debugged.code == 3
    assert "Traceback" in debugged.err
    assert debugged.err.splitlines()[-1].startswith("error: unexpected ZeroDivisionError")


def _python_without_lava() -> str | None:
    """A Python of this machine that Lava does not run on."""
    for name in ("python3.13", "python3.12", "python3.11", "python3"):
        found = shutil.which(name, path="/usr/bin:/usr/local/bin")
        code = (
            "import sys; from importlib.util import find_spec; "
            "sys.exit(sys.version_info < (3, 11) or find_spec('lava') is not None)"
        )
        if found and subprocess.run([found, "-c", code], check=False, capture_output=True).returncode == 0:
            return found
    return None


def test_python_without_lava_is_a_missing_dependency(
    sqdr: Run, bundle_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = _python_without_lava()
    if python is None:
        pytest.skip("needs a Python 3.11 or later without Lava in /usr/bin or /usr/local/bin")
    monkeypatch.setenv("SQDR_LAVA_PYTHON", python)
    ended = sqdr(*run_of(bundle_path, "--encoder", "lava", "--limit", 2, "--json"))
    assert ended.code == 3
    assert "set SQDR_LAVA_PYTHON to it" in ended.error()
    assert ended.json()["error"]["type"] == "MissingDependencyError"


def test_run_of_a_folder_with_an_unreadable_image_goes_on_and_says_so(sqdr: Run, bundle_path: Path) -> None:
    Path("images").mkdir()
    for number in range(4):
        Image.fromarray(np.full((8, 8), 60 * number, np.uint8)).save(f"images/{number}.png")
    Path("images/1.png").write_bytes(b"")
    words = run_of(bundle_path, "--device", "local:sv", source="images")
    ended = sqdr(*words, "--json")
    assert ended.code == 1
    summary = json.loads(ended.out)
    assert (summary["n_samples"], summary["n_left_out"], summary["left_out"]) == (3, 1, ["1.png"])
    assert json.loads(Path("out/summary.json").read_text())["left_out"] == ["1.png"]
    rows = [json.loads(line) for line in Path("out/results.jsonl").read_text().splitlines()]
    assert [row["sample_id"] for row in rows] == ["0.png", "2.png", "3.png"]
    assert ended.err.splitlines() == [
        "left out: images/1.png is not a readable image. Repair or remove it.",
        "error: 1 of 4 images could not be read and are left out, see the summary",
    ]
    shown = sqdr(*words, "--overwrite")
    assert shown.code == 1
    assert "images left out" in shown.out and "1: 1.png" in shown.out
    for number in (0, 2, 3):
        Path(f"images/{number}.png").write_bytes(b"x")
    nothing = sqdr(*words, "--overwrite")
    assert nothing.code == 2
    assert "none of 4 images in images can be read" in nothing.error()


def test_train_under_the_noise_of_a_hardware_file(sqdr: Run, tiny_config: dict[str, Any]) -> None:
    changed = {"head": {"n_qubits": 4, "n_blocks": 3}, "training": tiny_config["training"] | {"n_epochs": 1}}
    Path("tiny.yaml").write_text(yaml.safe_dump(tiny_config | changed))
    ended = sqdr("train", "--config", "tiny.yaml", "--out", "run", "--noise", "local_dm", "--json")
    assert (ended.code, ended.err) == (0, "")
    assert ended.json()["noise"] == "local_dm"
    refused = sqdr("train", "--config", "tiny.yaml", "--out", "other", "--noise", "braket_local_sv")
    assert refused.code == 2
    assert "`noise` must name a hardware file with a noise model" in refused.error()
    again = sqdr("train", "--resume", "run", "--noise", "local_dm")
    assert again.code == 2
    assert "`--resume` continues a run as it was configured" in again.error()
