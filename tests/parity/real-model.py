"""Reference results for SmolLM2-135M-Instruct from its GGUF file (scripts/fetch-smollm2.mjs brings it), and for
Gemma 3 270M from its own (scripts/fetch-gemma3.mjs).

    python tests/parity/real-model.py            # everything below, into tests/parity/cases/smollm2
    python tests/parity/real-model.py export     # the dequantised weights as a folder in .cache/smollm2/hf
    python tests/parity/real-model.py tokenizer  # token ids of a varied corpus
    python tests/parity/real-model.py greedy     # 64 greedy tokens on ten prompts
    python tests/parity/real-model.py lora       # a LoRA run on real text (minutes)
    python tests/parity/real-model.py gemma3     # Gemma's, into tests/parity/cases/gemma3
"""

import argparse
import os
import sys
import warnings
from pathlib import Path

os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")

import torch  # noqa: E402
import transformers  # noqa: E402

from reference.gemma3 import write_gemma3  # noqa: E402
from reference.smollm2 import export  # noqa: E402
from reference.smollm2_greedy import write_greedy  # noqa: E402
from reference.smollm2_lora import write_lora  # noqa: E402
from reference.smollm2_tokenizer import write_tokenizer  # noqa: E402

PARTS = {"export": export, "tokenizer": write_tokenizer, "greedy": write_greedy, "lora": write_lora, "gemma3": write_gemma3}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"of {', '.join(PARTS)}; default: all")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "cases" / "smollm2")
    arguments = parser.parse_args()
    unknown = [part for part in arguments.parts if part not in PARTS]
    if unknown:
        parser.error(f"unknown part {unknown[0]}; choose from {', '.join(PARTS)}")
    torch.set_num_threads(arguments.threads)
    transformers.utils.logging.disable_progress_bar()
    warnings.simplefilter("ignore")
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in arguments.parts or PARTS:
        PARTS[name](arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
