#!/bin/sh
# Print the path of a CPython 3.10 that really runs and has venv and ensurepip, or exit 1 with one message.
# Looked for in this order: $PYTHON310, python3.10 on PATH, pyenv, uv, python3 and python on PATH.
set -u

GET_ONE='Get one with "uv python install 3.10" or "pyenv install 3.10" and run this again, or name yours: PYTHON310=/path/to/python3.10 make setup'

# Prints the interpreter behind $1 if it will do. A virtual environment answers with the Python it was made
# from: .venv must not be built on itself, which would happen while it is active.
resolve() {
    "$1" -c '
import ensurepip, os, sys, venv
if sys.version_info[:2] != (3, 10) or sys.implementation.name != "cpython":
    raise SystemExit(1)
base = os.path.join(sys.base_prefix, "bin", "python3.10")
inside = sys.prefix != sys.base_prefix
print(base if inside and os.access(base, os.X_OK) else os.path.realpath(sys.executable) if inside else sys.executable)
' 2>/dev/null </dev/null
}

# Prints the newest of the interpreters $@, whose folder is named 3.10.<patch> or cpython-3.10.<patch>-...
newest() {
    best=-1
    found=
    for candidate do
        [ -x "$candidate" ] || continue
        name=${candidate%/bin/python3.10}
        name=${name##*/}
        patch=${name#*3.10}
        patch=${patch#.}
        patch=${patch%%[!0-9]*}
        if [ "${patch:-0}" -gt "$best" ] && path=$(resolve "$candidate"); then
            best=${patch:-0}
            found=$path
        fi
    done
    [ -n "$found" ] && printf '%s\n' "$found"
}

if [ -n "${PYTHON310:-}" ]; then
    resolve "$PYTHON310" && exit 0
    printf 'find_python: PYTHON310=%s is not a working CPython 3.10 with venv and ensurepip. %s\n' \
        "$PYTHON310" "$GET_ONE" >&2
    exit 1
fi

resolve python3.10 && exit 0

newest "${PYENV_ROOT:-/nonexistent}"/versions/3.10*/bin/python3.10 && exit 0
newest "${HOME:-/nonexistent}"/.pyenv/versions/3.10*/bin/python3.10 && exit 0

from_uv=$(uv python find 3.10 2>/dev/null </dev/null) && resolve "$from_uv" && exit 0
uv_home=${UV_PYTHON_INSTALL_DIR:-${XDG_DATA_HOME:-${HOME:-/nonexistent}/.local/share}/uv/python}
newest "$uv_home"/cpython-3.10*/bin/python3.10 && exit 0

resolve python3 && exit 0
resolve python && exit 0

printf 'find_python: no working CPython 3.10 with venv and ensurepip was found (Lava runs on 3.10 only). %s\n' \
    "$GET_ONE" >&2
exit 1
