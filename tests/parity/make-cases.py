"""Builds the parity cases of tiny models with the real libraries.

    python tests/parity/make-cases.py            # rewrites tests/parity/cases
    python tests/parity/make-cases.py --check    # rebuilds elsewhere and compares with what is stored
    python tests/parity/make-cases.py --add architectures   # builds that group and stores its new cases alone

Everything is seeded: on the same machine and versions a rebuild gives the same bytes.
"""

import os
import sys

# PEFT writes sets in hash order, and asks the model hub about unknown model names.
FIXED = {"PYTHONHASHSEED": "0", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
if any(os.environ.get(key) != value for key, value in FIXED.items()):
    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **FIXED})

from reference.adalora_cases import write_adalora_cases  # noqa: E402
from reference.architecture_cases import write_architecture_cases  # noqa: E402
from reference.architecture_table import write_architecture_table  # noqa: E402
from reference.classification_cases import write_classification_cases  # noqa: E402
from reference.eva_cases import write_eva_cases  # noqa: E402
from reference.gguf_cases import write_gguf_cases  # noqa: E402
from reference.glm_cases import write_glm_cases  # noqa: E402
from reference.gpt_cases import write_gpt_cases  # noqa: E402
from reference.icetk_cases import write_icetk_cases  # noqa: E402
from reference.image_cases import write_image_cases  # noqa: E402
from reference.llama_cases import write_llama_cases  # noqa: E402
from reference.lora_cases import write_lora_cases  # noqa: E402
from reference.merge_cases import write_merge_cases  # noqa: E402
from reference.moe_cases import write_moe_cases  # noqa: E402
from reference.packed_cases import write_packed_cases  # noqa: E402
from reference.processor_cases import write_processor_cases  # noqa: E402
from reference.prompt_cases import write_prompt_cases  # noqa: E402
from reference.qlora_cases import write_qlora_cases  # noqa: E402
from reference.quantization_cases import write_quantization_cases  # noqa: E402
from reference.sampling_cases import write_sampling_cases  # noqa: E402
from reference.tokenizer_cases import write_tokenizer_cases  # noqa: E402
from reference.tuner_cases import write_tuner_cases  # noqa: E402
from reference.xlora_cases import write_xlora_cases  # noqa: E402
from reference.rebuild import rebuild  # noqa: E402
from reference.versions import PACKAGES  # noqa: E402



def write_all_architectures(root):
    write_architecture_cases(root)
    write_architecture_table(root)


# In the order in which they are written: others take their models from the first.
GROUPS = {
    "llama": write_llama_cases,
    "adalora": write_adalora_cases,
    "architectures": write_all_architectures,
    "classification": write_classification_cases,
    "eva": write_eva_cases,
    "gguf": write_gguf_cases,
    "glm": write_glm_cases,
    "gpt": write_gpt_cases,
    "icetk": write_icetk_cases,
    "image-processor": write_processor_cases,
    "images": write_image_cases,
    "lora": write_lora_cases,
    "merge": write_merge_cases,
    "moe": write_moe_cases,
    "packed": write_packed_cases,
    "prompts": write_prompt_cases,
    "qlora": write_qlora_cases,
    "quantization": write_quantization_cases,
    "sampling": write_sampling_cases,
    "tokenizer": write_tokenizer_cases,
    "tuners": write_tuner_cases,
    "xlora": write_xlora_cases,
}

if __name__ == "__main__":
    sys.exit(rebuild(__doc__, GROUPS, "versions.json", PACKAGES))
