"""The child of test_bundle_fuzz: opens damaged bundles under a limit of memory and time, and reports each outcome.

A crash, a hang or too much memory ends this process, and the last line that it wrote says which trial it was.

    python bundle_fuzz_child.py mutate BUNDLE WORK MODE FIRST LAST
    python bundle_fuzz_child.py open PATH ...
"""

import faulthandler
import io
import json
import os
import random
import resource
import shutil
import sys
import traceback
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from sqdr.bundle import BUNDLE_FILES, MANIFEST, OPTIONAL_FILES, Bundle, sha256_of, write_zip
from sqdr.deploy.encoders.onnx_model import read_onnx
from sqdr.deploy.verify.classifier import CLASSIFIER_OPERATORS
from sqdr.errors import InputError, IntegrityError
from sqdr.netx import read_network

# What opening may take on top of the imports; the files of the bundle have 250 kB.
MEMORY_CAP_BYTES = 64 << 20
TRIAL_SECONDS = 20
MAX_MESSAGE = 3000
FILES = (*BUNDLE_FILES, *OPTIONAL_FILES, MANIFEST)
EXTREMES = [bytes(8), b"\xff" * 8, (2**40).to_bytes(8, "little"), (2**63 - 1).to_bytes(8, "little"), b"\x7f", b"\x80"]
ODD_VALUES: list[Any] = [
    *(None, True, -1, 0, 1, 2**31, 2**64, 10**31, 1e308, 0.5, "", "x" * 5000, "\n\0\u2028", [], {}),
    *([[]], {"": {}}, ["a"] * 500, {"k" * 500: 1}),
]


def flip_bits(data: bytearray, draw: random.Random) -> None:
    for _ in range(draw.choice([1, 1, 2, 8, 64])):
        data[position(data, draw)] ^= 1 << draw.randrange(8)


def set_bytes(data: bytearray, draw: random.Random) -> None:
    for _ in range(draw.choice([1, 1, 2, 8, 64])):
        data[position(data, draw)] = draw.choice([0, 1, 2, 0x7F, 0x80, 0xFF, draw.randrange(256)])


def put_extremes(data: bytearray, draw: random.Random) -> None:
    for _ in range(draw.choice([1, 1, 3])):
        value = draw.choice([*EXTREMES, draw.randrange(len(data)).to_bytes(8, "little"), draw.randbytes(4)])
        start = position(data, draw)
        data[start : start + len(value)] = value


def cut_short(data: bytearray, draw: random.Random) -> None:
    del data[draw.randrange(len(data)) :]


def append(data: bytearray, draw: random.Random) -> None:
    data += draw.randbytes(draw.choice([1, 7, 300]))


def replace_all(data: bytearray, draw: random.Random) -> None:
    data[draw.choice([0, 0, 8, 64]) :] = draw.randbytes(draw.choice([0, 1, 30, 5000]))


def move_a_piece(data: bytearray, draw: random.Random) -> None:
    start, length = position(data, draw), draw.choice([1, 8, 40, 500])
    piece = data[start : start + length]
    if draw.random() < 0.5:
        del data[start : start + length]
    to = position(data, draw) if data else 0
    data[to:to] = piece


MUTATIONS = [flip_bits, flip_bits, set_bytes, put_extremes, put_extremes, cut_short, append, replace_all, move_a_piece]


def position(data: bytearray, draw: random.Random) -> int:
    """Anywhere; more often in a header or at a byte that is not zero, where structures are."""
    chosen = draw.random()
    if chosen < 0.3:
        return draw.randrange(min(len(data), 400))
    tries = [draw.randrange(len(data)) for _ in range(1 if chosen < 0.5 else 20)]
    return next((index for index in tries if data[index]), tries[-1])


def mutated(data: bytes, draw: random.Random) -> bytes:
    changed = bytearray(data)
    draw.choice(MUTATIONS)(changed, draw)
    return bytes(changed)


def mutated_npz(data: bytes, draw: random.Random) -> bytes:
    """Damage inside one array, with the archive and its checksum whole, so that the array's reader is reached."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w") as new:
        chosen = draw.choice(old.namelist())
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, mutated(content, draw) if name == chosen else content)
    return buffer.getvalue()


def mutated_json(data: bytes, draw: random.Random) -> bytes:
    """One value or key anywhere in the tree replaced, removed or added."""
    tree = json.loads(data)
    node, parents = tree, []
    while isinstance(node, dict | list) and node and (not parents or draw.random() < 0.8):
        key = draw.choice(list(node) if isinstance(node, dict) else range(len(node)))
        parents.append((node, key))
        node = node[key]
    parent, key = parents[-1]
    value = draw.choice(ODD_VALUES)
    if draw.random() < 0.2:
        del parent[key]
    elif draw.random() < 0.2 and isinstance(parent, dict):
        parent[draw.choice(["", "x", "files", "../x", "k" * 300])] = value
    else:
        parent[key] = value
    return json.dumps(tree).encode()


def damaged(name: str, data: bytes, draw: random.Random) -> bytes:
    special = {"golden.npz": mutated_npz, "validation.npz": mutated_npz, MANIFEST: mutated_json}.get(name)
    return (special if special and draw.random() < 0.6 else mutated)(data, draw)


def seal(folder: Path, name: str) -> None:
    """Write the size and hash of a file into the manifest, so that its parser is reached."""
    data = json.loads((folder / MANIFEST).read_bytes())
    data["files"][name] = sha256_of(folder / name).model_dump()
    (folder / MANIFEST).write_text(json.dumps(data), encoding="utf-8")


def prepare(bundle: Path, work: Path, mode: str, draw: random.Random) -> tuple[Path, str, bool]:
    """Return a damaged bundle, the name of what was damaged, and whether its bytes are other ones than before."""
    folder, archive = work / "bundle", work / "a.sqdr"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(bundle, folder)
    if mode == "archive":
        write_zip(folder, archive)
        data = archive.read_bytes()
        archive.write_bytes(changed := mutated(data, draw))
        return archive, archive.name, changed != data
    name = draw.choice(FILES)
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(changed := damaged(name, data, draw))
    if mode.startswith("sealed") and name != MANIFEST:
        seal(folder, name)
    if mode.endswith("zip"):
        write_zip(folder, archive)
        return archive, name, changed != data
    return folder, name, changed != data


def one(read: Callable[[], object]) -> str:
    """Return the outcome of one step: ok, or the error's class; anything but a one-line InputError is a fault."""
    try:
        read()
    except InputError as error:
        text = str(error)
        if len(text.splitlines()) != 1 or len(text) > MAX_MESSAGE:
            return f"FAULT: a message of {len(text.splitlines())} lines, {len(text)} characters: {text[:300]!r}"
        return "IntegrityError" if isinstance(error, IntegrityError) else f"refused: {text}"
    except BaseException:
        return f"FAULT: {traceback.format_exc()}"
    return "ok"


def steps(path: Path) -> dict[str, str]:
    """Open a bundle and read each of its files."""
    found: dict[str, str] = {}

    def read_all() -> None:
        with Bundle.open(path) as bundle:
            found["network"] = one(lambda: read_network(bundle.path_of("encoder.net")))
            found["golden"] = one(bundle.golden)
            found["validation"] = one(bundle.validation)
            found["head"] = one(bundle.head_parameters)
            found["circuit"] = one(bundle.circuit)
            for name in ("encoder.onnx", "classifier.onnx"):
                if bundle.has(name):
                    found[name] = one(partial(read_onnx, bundle.path_of(name), CLASSIFIER_OPERATORS))

    return {"open": one(read_all), **found}


def announce(what: object) -> None:
    print(what, flush=True)
    faulthandler.dump_traceback_later(TRIAL_SECONDS, exit=True)


def limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY_CAP_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def main(command: str, *arguments: str) -> None:
    steps(Path(arguments[0]))  # imports what is imported on first use
    limit_memory()
    if command == "open":
        for path in arguments[1:]:
            announce(path)
            print(json.dumps(steps(Path(path))), flush=True)
        return
    bundle, work, mode, first, last = arguments
    for seed in range(int(first), int(last)):
        announce(f"{mode} {seed}")
        path, name, is_changed = prepare(Path(bundle), Path(work), mode, random.Random(f"{mode} {seed}"))
        outcome = {"name": name, "changed": is_changed, "steps": steps(path), "left": os.listdir(os.environ["TMPDIR"])}
        print(json.dumps(outcome), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
