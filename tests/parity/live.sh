#!/usr/bin/env bash
# Rebuilds the parity cases with the real libraries and compares them with what is stored. Needs Python;
# the stored cases themselves are checked by Node alone.
set -euo pipefail
cd "$(dirname "$0")/../.."

sh scripts/reference-venv.sh
.venv/bin/python tests/parity/make-cases.py --check
