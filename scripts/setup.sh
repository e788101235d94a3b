#!/bin/sh
# Make or refresh .venv with everything sqdr needs; does nothing when it is already up to date.
#
# .venv/.sqdr-stamp is written last, so an installation that was cut short never looks finished.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
cd "$root"
venv=$root/.venv
stamp=$venv/.sqdr-stamp

# Settings of the caller's shell that would make pip install somewhere else or see other packages.
unset PYTHONHOME PYTHONPATH PIP_TARGET PIP_PREFIX PIP_ROOT PIP_CONSTRAINT
export PIP_USER=0 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1

say() {
    printf 'setup: %s\n' "$*" >&2
}

# Prints what .venv must have been made from: the declared dependencies, the C sources, the interpreter, and this folder
# (scripts in .venv/bin and the editable install hold absolute paths). Fails where .venv's Python does not run.
fingerprint() {
    "$venv/bin/python" -c '
import hashlib, pathlib, sys
digest = hashlib.sha256()
for part in (*(pathlib.Path(name).read_bytes() for name in sys.argv[2:]), sys.version.encode(), sys.argv[1].encode()):
    digest.update(hashlib.sha256(part).digest())
print(digest.hexdigest())
' "$root" pyproject.toml constraints.txt setup.py train/encoder/cuba/*.[ch] 2>/dev/null </dev/null
}

is_current() {
    now=$(fingerprint) && [ -f "$stamp" ] && [ "$now" = "$(cat "$stamp")" ]
}

# A .venv that runs, is of Python 3.10, was made in this folder and has a working pip can be refreshed in place.
is_usable() {
    "$venv/bin/python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 10))' 2>/dev/null </dev/null &&
        grep -qF "$venv/bin/python" "$venv/bin/pip" 2>/dev/null &&
        "$venv/bin/python" -m pip --version >/dev/null 2>&1 </dev/null
}

# One setup at a time where flock exists: the lock is this file, and the system lets go of it when we end.
if command -v flock >/dev/null 2>&1; then
    exec 9<"$root/scripts/setup.sh"
    flock 9
fi

if is_current; then
    exit 0
fi

if ! is_usable; then
    python=$(sh scripts/find_python.sh)
    if [ -L "$venv" ]; then
        rm -f "$venv"
    elif [ -e "$venv" ]; then
        if [ ! -f "$venv/pyvenv.cfg" ] && [ -n "$(find "$venv" -type f | head -n 1)" ]; then
            say "$venv is in the way and is no virtual environment. Move it, then run this again."
            exit 1
        fi
        say "rebuilding .venv: it is broken, was moved, or is not of Python 3.10"
        # pyvenv.cfg goes last: it marks what is left of an interrupted removal as ours.
        find "$venv" -mindepth 1 -maxdepth 1 ! -name pyvenv.cfg -exec rm -rf {} +
        rm -rf "$venv"
    fi
    "$python" -m venv "$venv"
fi

rm -f "$stamp"
say "installing into .venv; the first time this takes minutes (about 6 GB on disk, mostly torch and CUDA libraries)"
pip() {
    "$venv/bin/python" -m pip "$@" </dev/null
}
# Twice quiet: errors still show, but not the warnings of a build that worked.
pip install --quiet --quiet --constraint constraints.txt pip setuptools wheel
pip install --quiet --quiet --constraint constraints.txt --build-constraint constraints.txt --editable '.[all,dev,docs]'
# Left by the build in this folder; `python -m` run from here would read it in place of what is installed.
rm -rf sqdr.egg-info
pip check >/dev/null || { pip check >&2 || true; say "the installed packages do not fit together"; exit 1; }
"$venv/bin/python" -c 'import sqdr' </dev/null

fingerprint >"$stamp.new"
mv -f "$stamp.new" "$stamp"
say "done: .venv is ready"
