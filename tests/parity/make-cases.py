"""Builds the parity cases of tiny models with the real libraries.

    python tests/parity/make-cases.py            # rewrites tests/parity/cases
    python tests/parity/make-cases.py --check    # rebuilds elsewhere and compares with what is stored

Everything is seeded: on the same machine and versions a rebuild gives the same bytes.
"""

import argparse
import os
import shutil
import sys
import tempfile
import warnings
from pathlib import Path

# PEFT writes sets in hash order, and asks the model hub about unknown model names.
FIXED = {"PYTHONHASHSEED": "0", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
if any(os.environ.get(key) != value for key, value in FIXED.items()):
    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **FIXED})

import torch  # noqa: E402
import transformers  # noqa: E402

from reference.compare import compare  # noqa: E402
from reference.adalora_cases import write_adalora_cases  # noqa: E402
from reference.gguf_cases import write_gguf_cases  # noqa: E402
from reference.llama_cases import write_llama_cases  # noqa: E402
from reference.lora_cases import write_lora_cases  # noqa: E402
from reference.merge_cases import write_merge_cases  # noqa: E402
from reference.prompt_cases import write_prompt_cases  # noqa: E402
from reference.qlora_cases import write_qlora_cases  # noqa: E402
from reference.quantization_cases import write_quantization_cases  # noqa: E402
from reference.sampling_cases import write_sampling_cases  # noqa: E402
from reference.tokenizer_cases import write_tokenizer_cases  # noqa: E402
from reference.tuner_cases import write_tuner_cases  # noqa: E402
from reference.versions import version_differences, write_versions  # noqa: E402

GROUPS = {
    "adalora": write_adalora_cases,
    "gguf": write_gguf_cases,
    "llama": write_llama_cases,
    "lora": write_lora_cases,
    "merge": write_merge_cases,
    "prompts": write_prompt_cases,
    "qlora": write_qlora_cases,
    "quantization": write_quantization_cases,
    "sampling": write_sampling_cases,
    "tokenizer": write_tokenizer_cases,
    "tuners": write_tuner_cases,
}
CASES = Path(__file__).parent / "cases"


def build(root):
    for name, write in GROUPS.items():
        shutil.rmtree(root / name, ignore_errors=True)
        write(root / name)


def check():
    """0 if a rebuild gives what is stored."""
    for difference in version_differences(CASES / "versions.json"):
        print(f"note: {difference}")
    compared, faults = 0, []
    with tempfile.TemporaryDirectory() as scratch:
        build(Path(scratch))
        for name in GROUPS:
            count, found = compare(CASES / name, Path(scratch) / name)
            compared += count
            faults += [f"{name}/{fault}" for fault in found]
    print("\n".join([*faults, f"{compared} files compared, {len(faults)} differ"]))
    return 1 if faults or compared == 0 else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare a rebuild with the stored cases")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # the sums' order, and so their last bits, would depend on the machine
    transformers.utils.logging.disable_progress_bar()
    warnings.simplefilter("ignore")  # several cases are about what the libraries warn of
    if arguments.check:
        return check()
    build(CASES)
    write_versions(CASES / "versions.json")
    size = sum(file.stat().st_size for name in GROUPS for file in (CASES / name).rglob("*.*") if file.is_file())
    print(f"wrote {', '.join(GROUPS)} below {CASES}: {size / 1024:.0f} KiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
