#!/bin/sh
# Creates .venv with the pinned reference libraries (PyTorch, transformers, PEFT), or with the argument
# `adapterhub` .venv-adapterhub with AdapterHub's, which needs an older transformers. Only the live
# parity checks and the peers of bench/ need them; everything else runs on Node alone.
set -eu
cd "$(dirname "$0")/.."

case "${1:-peft}" in
  peft) environment=.venv requirements=requirements.txt library=peft ;;
  adapterhub) environment=.venv-adapterhub requirements=requirements-adapterhub.txt library=adapters ;;
  *)
    echo "reference-venv: there are the libraries peft and adapterhub, not \"$1\"" >&2
    exit 1
    ;;
esac

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
if ! "$python" -m venv "$environment"; then
  echo "reference-venv: $python could not create $environment (on Debian and Ubuntu: apt install python3-venv)" >&2
  exit 1
fi
"$environment/bin/python" -m pip install --disable-pip-version-check --quiet -r "tests/parity/$requirements"
"$environment/bin/python" -c '
import importlib, sys, torch, transformers
library = importlib.import_module(sys.argv[1])
print(f"reference-venv: torch {torch.__version__}, transformers {transformers.__version__}, "
      f"{sys.argv[1]} {library.__version__} in {sys.argv[2]}")
' "$library" "$environment"
