#!/bin/sh
# The GPU's rows: tests on the GPU first, then `sqdr bench gpu`, kept under benchmarks/results/gpu-<name>.json.
# Where torch sees no GPU nothing is measured and nothing written.
#
#     benchmarks/gpu.sh                      # PYTHON=/path/to/python for another than .venv's
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}

name=$("$python" -c 'import torch; print(torch.cuda.get_device_name() if torch.cuda.is_available() else "")') || {
    echo "error: $python has no torch. Run \`make setup\`, or set PYTHON." >&2
    exit 2
}
if [ -z "$name" ]; then
    echo "skipped: no GPU"
    exit 0
fi
"$python" -m pytest -q -m gpu
file=benchmarks/results/gpu-$(printf %s "$name" | tr 'A-Z ' 'a-z-' | tr -cd 'a-z0-9-').json
"$python" -c 'from sqdr.cli import main; main()' bench gpu --out "$file" "$@"
echo "written: $file"
