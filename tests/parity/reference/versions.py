"""Which libraries made the results."""

import importlib.metadata
import json
import platform

from .store import write_json


PACKAGES = ["torch", "transformers", "peft", "safetensors", "tokenizers", "accelerate", "gguf", "numpy", "pillow", "bitsandbytes"]


def versions(packages=PACKAGES):
    """Name to version, Python included; without build suffixes such as `+cpu`."""
    found = {name: importlib.metadata.version(name).split("+")[0] for name in packages}
    return {"python": platform.python_version(), **found}


def write_versions(path, packages=PACKAGES):
    write_json(path, versions(packages))


def version_differences(path, packages=PACKAGES):
    """Sentences on what is installed in another version than the one that made the stored results."""
    stored, installed = json.loads(path.read_text()), versions(packages)
    return [
        f"{name} is {installed.get(name)}, the stored results are of {version}"
        for name, version in stored.items()
        if installed.get(name) != version
    ]
