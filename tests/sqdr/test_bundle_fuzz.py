"""Damaged and hostile bundles: one line that says so, and no crash, hang, stray file or unbounded memory.

Every trial runs in a child process with a limit of address space and of time, so that a crash of a
library ends the child and fails the test, with the seed that did it.
"""

import collections
import hashlib
import io
import json
import os
import shutil
import stat
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sqdr.bundle import MANIFEST, Bundle, sha256_of, write_zip
from sqdr.golden_samples import Golden

pytest.importorskip("resource", reason="needs limits on memory")
h5py = pytest.importorskip("h5py", reason="makes the damaged networks")

CHILD = Path(__file__).parent / "bundle_fuzz_child.py"
# Of one child process with all its trials; each trial has 20 seconds of its own.
BATCH_SECONDS = 240
N_TRIALS = {"folder": 250, "sealed folder": 1000, "archive": 450, "sealed zip": 400}


def run_child(work: Path, *arguments: object) -> list[str]:
    """Run the child in an empty folder and return its lines; nothing outside its work folder may change."""
    for name in ("here", "unpacked", "work"):
        (work / name).mkdir(exist_ok=True)
    before = snapshot(work)
    done = subprocess.run(
        [sys.executable, str(CHILD), *map(str, arguments)],
        cwd=work / "here",
        env=os.environ | {"TMPDIR": str(work / "unpacked"), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=BATCH_SECONDS,
        check=False,
    )
    lines = done.stdout.splitlines()
    assert done.returncode == 0, f"exit code {done.returncode} at {lines[-1:]}: {done.stderr[-3000:]}"
    assert snapshot(work) == before
    return lines


def snapshot(work: Path) -> dict[str, str]:
    """Hash every file near the bundle but for those that the child damages itself."""
    paths = [path for path in work.rglob("*") if not path.is_relative_to(work / "work")]
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else str(path.lstat().st_mode)
        for path in paths
    }


@pytest.mark.slow
@pytest.mark.parametrize("mode", N_TRIALS)
def test_damaged_bundles_work_or_say_so_in_one_line(bundle_path: Path, tmp_path: Path, mode: str) -> None:
    shutil.copytree(bundle_path, tmp_path / "bundle")
    child_mode = mode.replace("sealed ", "sealed-")
    lines = run_child(tmp_path, "mutate", tmp_path / "bundle", tmp_path / "work", child_mode, 0, N_TRIALS[mode])
    trials = [json.loads(line) for line in lines[1::2]]
    assert len(trials) == N_TRIALS[mode]
    faults = [(seed, line) for seed, line in zip(lines[::2], lines[1::2], strict=True) if "FAULT" in line]
    assert faults == []
    assert [trial for trial in trials if trial["left"]] == []
    check_outcomes(mode, [trial for trial in trials if trial["changed"]])


def check_outcomes(mode: str, trials: list[dict[str, Any]]) -> None:
    """Every kind of file was damaged, and its damage was found: by the hash, or behind it by the file's reader."""
    refused = collections.Counter(trial["name"] for trial in trials if trial["steps"]["open"] != "ok")
    if mode == "archive":
        assert refused["a.sqdr"] > 100
        return
    assert refused[MANIFEST] > 15
    readers = {"encoder.net": "network", "golden.npz": "golden", "head.safetensors": "head", "circuit.qasm": "circuit"}
    readers |= {name: name for name in ("encoder.onnx", "classifier.onnx")} | {"validation.npz": "validation"}
    for name, step in readers.items():
        damaged = [trial["steps"] for trial in trials if trial["name"] == name]
        assert len(damaged) > 15
        if mode == "folder":
            assert {steps["open"] for steps in damaged} == {"IntegrityError"}
        else:
            assert {steps["open"] for steps in damaged} == {"ok"}
            assert sum(steps[step].startswith("refused") for steps in damaged) > len(damaged) / 3
    if mode != "folder":  # a changed weight is no damage that a reader can see
        assert any(trial["name"] == "encoder.net" and trial["steps"]["network"] == "ok" for trial in trials)


def seal(folder: Path, *names: str) -> None:
    data = json.loads((folder / MANIFEST).read_bytes())
    for name in names:
        data["files"][name] = sha256_of(folder / name).model_dump()
    (folder / MANIFEST).write_text(json.dumps(data), encoding="utf-8")


def outcomes_of(bundle: Path, work: Path, paths: list[Path]) -> list[dict[str, str]]:
    lines = run_child(work, "open", bundle, *paths)
    assert lines[::2] == [str(path) for path in paths]
    found: list[dict[str, str]] = [json.loads(line) for line in lines[1::2]]
    assert [steps for steps in found if any("FAULT" in outcome for outcome in steps.values())] == []
    return found


def write_bomb_net(path: Path, kind: str) -> None:
    path.unlink()
    with h5py.File(path, "w") as file:
        layer = file.create_group("layer/0")
        layer["type"] = b"dense"
        layer["shape"] = 4
        if kind in ("chunked", "gzip", "contiguous"):
            options = {"chunked": {"chunks": (1024,)}, "gzip": {"chunks": (1 << 20,), "compression": "gzip"}}
            layer.create_dataset("weight", shape=(2**40,), dtype="f4", **options.get(kind, {}))
        elif kind == "deflated":  # 256 MiB of zeros in 260 kB
            layer.create_dataset("weight", data=np.zeros(1 << 26, np.float32), chunks=(1 << 22,), compression="gzip")
        elif kind == "external link":
            layer["weight"] = h5py.ExternalLink("/etc/passwd", "/weight")
        elif kind == "external file":
            layer.create_dataset("weight", (16,), "u1", external=[("/etc/passwd", 0, 16)])
        elif kind == "soft link":
            layer["weight"] = h5py.SoftLink("/layer/0/weight")
        elif kind == "loop":
            layer["neuron"] = file["/"]
        elif kind == "shared":
            layer["weight"] = np.zeros(1 << 20, np.int8)
            for index in range(1, 40):
                file[f"layer/{index}"] = layer


def write_bomb_npz(path: Path, kind: str) -> None:
    shape = "1099511627776," if kind == "declared" else f"{1 << 28},"
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({shape}), }}\n".encode()
    start = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header
    with np.load(path) as old:
        arrays = dict(old)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if kind == "deflated" else zipfile.ZIP_STORED) as archive:
        for name, value in arrays.items():
            buffer = io.BytesIO()
            np.save(buffer, value)
            images = start + (bytes(1 << 28) if kind == "deflated" else b"")
            archive.writestr(f"{name}.npy", images if name == "images" else buffer.getvalue())


def write_bomb_head(path: Path, kind: str) -> None:
    header = {
        "length": b"",
        "shape": json.dumps({"weights": {"dtype": "F64", "shape": [2**60], "data_offsets": [0, 2**63]}}).encode(),
        "nested": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        "many": b"[" * 60_000,
    }[kind]
    path.write_bytes(struct.pack("<Q", 2**60 if kind == "length" else len(header)) + header)


def write_bomb_manifest(path: Path, kind: str) -> None:
    data = json.loads(path.read_bytes())
    if kind == "nested":
        path.write_bytes(b'{"a":' * 100_000 + b"1" + b"}" * 100_000)
        return
    if kind == "number":
        path.write_text(json.dumps(data).replace(f'"seed": {data["training"]["seed"]}', '"seed": ' + "9" * 400_000))
        return
    if kind == "text":
        data["sqdr_version"] = {"x" * 900_000: 1}
    elif kind == "names":
        data["class_names"] = ["x"] * 200_000
    elif kind == "qubits":
        data["model"]["head"]["n_qubits"] = 10**30
    elif kind == "steps":
        data["model"]["coding"]["n_steps"] = data["timing"]["n_steps"] = data["timing"]["period"] = 2**62
    elif kind == "layers":
        data["model"]["encoder"]["layers"] = [{"kind": "conv", "out_channels": 4096}] * 10_000
    path.write_text(json.dumps(data), encoding="utf-8")


# file, kind -> what the step says that reads it
FOLDER_BOMBS: dict[tuple[str, str], tuple[str, str]] = {
    ("encoder.net", "contiguous"): ("network", "layer/0/weight declares 1,099,511,627,776 values"),
    ("encoder.net", "chunked"): ("network", "layer/0/weight declares 1,099,511,627,776 values"),
    ("encoder.net", "gzip"): ("network", "layer/0/weight declares 1,099,511,627,776 values"),
    ("encoder.net", "deflated"): ("network", "layer/0/weight declares 67,108,864 values"),
    ("encoder.net", "external link"): ("network", "layer/0: a group of the form of HDF5 1.8|layer/0/weight is a link"),
    ("encoder.net", "external file"): ("network", "layer/0/weight is stored in another file"),
    ("encoder.net", "soft link"): ("network", "layer/0/weight is a link"),
    ("encoder.net", "loop"): ("network", "layer/0/neuron/layer must be a dataset"),
    ("encoder.net", "shared"): ("network", "values in all, the most for a file of this size"),
    ("golden.npz", "declared"): ("golden", "is not a readable set of golden samples"),
    ("golden.npz", "deflated"): ("golden", "is not a readable set of golden samples"),
    ("head.safetensors", "length"): ("head", "is not a readable safetensors file"),
    ("head.safetensors", "shape"): ("head", "is not a readable safetensors file"),
    ("head.safetensors", "nested"): ("head", "is not a readable safetensors file"),
    ("head.safetensors", "many"): ("head", "is not a readable safetensors file"),
    (MANIFEST, "nested"): ("open", "is not readable JSON"),
    (MANIFEST, "number"): ("open", "is not readable JSON"),
    (MANIFEST, "text"): ("open", "sqdr_version: Input should be a valid string"),
    (MANIFEST, "names"): ("open", "`class_names` must hold the model's 10 names, got 200000"),
    (MANIFEST, "qubits"): ("open", "n_qubits: Input should be less than"),
    (MANIFEST, "steps"): ("open", "n_steps: Input should be less than"),
    (MANIFEST, "layers"): ("open", "layers: Tuple should have at most 64 items"),
}
WRITERS: dict[str, Callable[[Path, str], None]] = {
    "encoder.net": write_bomb_net,
    "golden.npz": write_bomb_npz,
    "head.safetensors": write_bomb_head,
    MANIFEST: write_bomb_manifest,
}


@pytest.mark.slow
def test_bombs_in_the_files_of_a_bundle_are_refused_within_the_memory_limit(bundle_path: Path, tmp_path: Path) -> None:
    paths = []
    for name, kind in FOLDER_BOMBS:
        shutil.copytree(bundle_path, folder := tmp_path / "bombs" / f"{kind} {name}")
        WRITERS[name](folder / name, kind)
        if name != MANIFEST:
            seal(folder, name)
        paths.append(folder)
    found = outcomes_of(bundle_path, tmp_path, paths)
    assert len(found) == len(FOLDER_BOMBS)
    for (step, reason), (key, steps) in zip(FOLDER_BOMBS.values(), zip(FOLDER_BOMBS, found, strict=True), strict=True):
        assert steps[step].startswith("refused"), (key, steps)
        assert any(part in steps[step] for part in reason.split("|")), (key, steps)


def zeros_member(n_bytes: int) -> tuple[bytes, int]:
    """Return ``n_bytes`` zeros as raw deflate data, and their CRC, without holding them."""
    packer, packed, crc = zlib.compressobj(1, zlib.DEFLATED, -15), [], 0
    piece = bytes(1 << 20)
    for _ in range(n_bytes >> 20):
        packed.append(packer.compress(piece))
        crc = zlib.crc32(piece, crc)
    return b"".join([*packed, packer.flush()]), crc


def zip_bytes(members: list[tuple[str, bytes, int, int]]) -> bytes:
    """A zip of deflated members: name, packed data, CRC, and the size that it claims."""
    body, table = bytearray(), bytearray()
    for name, packed, crc, size in members:
        fields = struct.pack("<HHHHHIIIHH", 20, 0, 8, 0, 33, crc, len(packed), size, len(name), 0)
        table += b"PK\x01\x02\x14\x00" + fields + struct.pack("<HHHII", 0, 0, 0, 0, len(body)) + name.encode()
        body += b"PK\x03\x04" + fields + name.encode() + packed
    n = len(members)
    return bytes(body + table) + struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, n, n, len(table), len(body), 0)


def members_of(folder: Path) -> dict[str, tuple[str, bytes, int, int]]:
    found = {}
    for path in folder.iterdir():
        data, packer = path.read_bytes(), zlib.compressobj(9, zlib.DEFLATED, -15)
        found[path.name] = (path.name, packer.compress(data) + packer.flush(), zlib.crc32(data), len(data))
    return found


@pytest.mark.slow
def test_bombs_in_an_archive_are_refused_within_the_limits(bundle_path: Path, tmp_path: Path) -> None:
    size = 1 << 30
    packed, crc = zeros_member(size)
    good = members_of(bundle_path)
    claims: dict[str, tuple[dict[str, tuple[str, bytes, int, int]], str]] = {
        "whole": (good, "ok"),
        "manifest": ({MANIFEST: (MANIFEST, packed, crc, size)}, "manifest.json claims 1073741824 bytes"),
        "manifest that says little": ({MANIFEST: (MANIFEST, packed, crc, 900)}, "is not a readable .sqdr file|JSON"),
        "manifest that says 4 GiB": ({MANIFEST: (MANIFEST, packed, crc, 2**32 - 1)}, "claims 4294967295 bytes"),
        "network": ({"encoder.net": ("encoder.net", packed, crc, size)}, "IntegrityError"),
        "network that says little": (
            {"encoder.net": ("encoder.net", packed, crc, good["encoder.net"][3])},
            "IntegrityError|is not a readable .sqdr file",
        ),
        "many names": ({f"x{i}": (f"x{i}", b"", 0, 0) for i in range(60_000)}, "is not a readable .sqdr file"),
    }
    paths = []
    for kind, (members, _) in claims.items():
        path = tmp_path / f"{kind}.sqdr"
        path.write_bytes(zip_bytes([*(good | members).values()]))
        paths.append(path)
    found = outcomes_of(bundle_path, tmp_path, paths)
    assert len(found) == len(claims)
    for (kind, (_, reason)), steps in zip(claims.items(), found, strict=True):
        assert any(part in steps["open"] for part in reason.split("|")), (kind, steps)


NAMES = ["../x", "../../x", "/x", "//x", "C:\\x", "C:x", "..\\x", "a/../../x", "here/x", "~/x", "x\0y", "encoder.net/x"]


def test_archives_write_nowhere_else(bundle_path: Path, tmp_path: Path) -> None:
    paths = [tmp_path / f"{index}.sqdr" for index in range(len(NAMES))]
    for path, name in zip(paths, NAMES, strict=True):
        path.write_bytes(zip_bytes([*members_of(bundle_path).values(), (name, b"\x03\x00", 0, 0)]))
    found = outcomes_of(bundle_path, tmp_path, paths)
    assert len(found) == len(NAMES)
    for name, steps in zip(NAMES, found, strict=True):
        # zipfile ends a name at a zero
        assert "holds an unexpected file" in steps["open"], (name, steps)
    assert not Path("/x").exists()


def test_links_and_doubles_in_an_archive_are_files_or_refused(bundle_path: Path, tmp_path: Path) -> None:
    shutil.copytree(bundle_path, folder := tmp_path / "linked")
    (folder / "encoder.net").write_bytes(b"/etc/passwd")
    seal(folder, "encoder.net")
    write_zip(folder, link := tmp_path / "link.sqdr")
    data = bytearray(link.read_bytes())
    record = data.rindex(b"encoder.net") - 46
    # APPNOTE 4.3.12: who made it, at offset 5, and its mode, at offset 38
    data[record + 5] = 3
    struct.pack_into("<I", data, record + 38, (stat.S_IFLNK | 0o777) << 16)
    link.write_bytes(data)
    good = members_of(bundle_path)
    (twice := tmp_path / "twice.sqdr").write_bytes(zip_bytes([*good.values(), good["golden.npz"]]))
    linked, doubled = outcomes_of(bundle_path, tmp_path, [link, twice])
    assert linked["open"] == "ok"
    assert "encoder.net is not a readable netx network" in linked["network"]
    assert "holds an unexpected file 'golden.npz'" in doubled["open"]


def test_the_limit_of_memory_and_the_watch_do_catch_a_fault(bundle_path: Path, tmp_path: Path) -> None:
    """The child reports what it is there to find: a network of more than the limit, though it is whole."""
    shutil.copytree(bundle_path, folder := tmp_path / "large")
    (folder / "encoder.net").unlink()
    with h5py.File(folder / "encoder.net", "w") as file:
        file["layer/0/type"] = b"dense"
        file["layer/0/shape"] = 4
        file["layer/0/weight"] = np.zeros((4, 4 << 20), np.int8)
    seal(folder, "encoder.net")
    lines = run_child(tmp_path, "open", bundle_path, folder)
    assert "FAULT" in json.loads(lines[1])["network"]
    assert "MemoryError" in json.loads(lines[1])["network"]


def test_the_undamaged_bundle_passes_the_child(bundle_path: Path, tmp_path: Path) -> None:
    write_zip(bundle_path, packed := tmp_path / "whole.sqdr")
    with Bundle.open(bundle_path) as bundle:
        assert isinstance(bundle.golden(), Golden)
    for steps in outcomes_of(bundle_path, tmp_path, [bundle_path, packed]):
        read = ("open", "network", "golden", "validation", "head", "circuit", "encoder.onnx", "classifier.onnx")
        assert steps == dict.fromkeys(read, "ok")
