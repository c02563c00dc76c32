#!/bin/sh
# Creates .venv with the pinned reference libraries (PyTorch, transformers, PEFT). Only the live
# parity checks and the peers of bench/ need it; everything else runs on Node alone.
set -eu
cd "$(dirname "$0")/.."

python="${PYTHON:-python3}"
if ! command -v "$python" >/dev/null 2>&1; then
  echo "reference-venv: \"$python\" was not found; the reference libraries need Python 3.10 or newer" \
    "(install it, or name one: PYTHON=/path/to/python3 sh scripts/reference-venv.sh)" >&2
  exit 1
fi
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))'; then
  echo "reference-venv: the reference libraries need Python 3.10 or newer, $python is" \
    "$("$python" -c 'import platform; print(platform.python_version())')" \
    "(name another: PYTHON=/path/to/python3 sh scripts/reference-venv.sh)" >&2
  exit 1
fi
if ! "$python" -m venv .venv; then
  echo "reference-venv: $python could not create .venv (on Debian and Ubuntu: apt install python3-venv)" >&2
  exit 1
fi
.venv/bin/python -m pip install --disable-pip-version-check --quiet -r tests/parity/requirements.txt
.venv/bin/python -c '
import peft, torch, transformers
print(f"reference-venv: torch {torch.__version__}, transformers {transformers.__version__}, peft {peft.__version__} in .venv")
'
