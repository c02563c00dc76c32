"""Which libraries made the results."""

import importlib.metadata
import platform

from .store import write_json

PACKAGES = ["torch", "transformers", "peft", "safetensors", "tokenizers", "accelerate", "gguf", "numpy"]


def versions():
    """Name to version, Python included; without build suffixes such as `+cpu`."""
    found = {name: importlib.metadata.version(name).split("+")[0] for name in PACKAGES}
    return {"python": platform.python_version(), **found}


def write_versions(path):
    write_json(path, versions())
