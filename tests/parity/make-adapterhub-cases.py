"""Builds the parity cases of AdapterHub's methods with its library `adapters`.

    python tests/parity/make-adapterhub-cases.py            # rewrites tests/parity/cases/adapterhub
    python tests/parity/make-adapterhub-cases.py --check    # rebuilds elsewhere and compares

It needs an environment of its own (requirements-adapterhub.txt), as the library is made for an older
release of transformers than the one that the other cases are built with.
"""

import os
import sys

FIXED = {"PYTHONHASHSEED": "0", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
if any(os.environ.get(key) != value for key, value in FIXED.items()):
    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **FIXED})

from reference.adapterhub_cases import write_adapterhub_cases  # noqa: E402
from reference.rebuild import rebuild  # noqa: E402

PACKAGES = ["torch", "transformers", "adapters", "safetensors", "numpy"]

if __name__ == "__main__":
    groups = {"adapterhub": write_adapterhub_cases}
    sys.exit(rebuild(__doc__, groups, "versions-adapterhub.json", PACKAGES, needs=["llama", "gpt"]))
