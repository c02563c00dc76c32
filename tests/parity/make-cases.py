"""Rebuilds the stored parity cases with the real libraries: `python tests/parity/make-cases.py`.

Everything is seeded; on the same machine and versions a rebuild gives the same files. `--out` writes
elsewhere, so that a rebuild can be compared with what is stored.
"""

import argparse
import os
import shutil
import sys
from pathlib import Path

# PEFT writes sets in hash order, and asks the model hub about unknown model names.
FIXED = {"PYTHONHASHSEED": "0", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
if any(os.environ.get(key) != value for key, value in FIXED.items()):
    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **FIXED})

import torch  # noqa: E402
import transformers  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent))

from reference.llama_cases import write_llama_cases  # noqa: E402
from reference.versions import write_versions  # noqa: E402



def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "cases")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # the sums' order, and so their last bits, would depend on the machine
    transformers.utils.logging.disable_progress_bar()
    for name, write in GROUPS.items():
        directory = arguments.out / name
        shutil.rmtree(directory, ignore_errors=True)
        write(directory)
        size = sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())
        print(f"{name}: {size / 1024:.0f} KiB in {directory}")
    write_versions(arguments.out / "versions.json")


if __name__ == "__main__":
    main()
