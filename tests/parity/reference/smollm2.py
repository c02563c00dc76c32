"""SmolLM2-135M-Instruct as transformers sees it: a folder with dequantised weights, made once from the GGUF."""

import json
import shutil
from pathlib import Path

import torch
from gguf import GGUFReader
from transformers import AutoModelForCausalLM, AutoTokenizer

CACHE = Path(__file__).parents[3] / ".cache" / "smollm2"
GGUF = CACHE / "SmolLM2-135M-Instruct.Q4_1.gguf"
FOLDER = CACHE / "hf"

# transformers' GGUF reader takes any BPE vocabulary to be GPT-2's and ignores the file's own
# `tokenizer.ggml.pre`. For "smollm" every digit is a piece of its own before GPT-2's rule splits the rest;
# it is how the model was trained, and it shows where several spaces or newlines precede a number.
PRE_TOKENIZERS = {
    "smollm": {
        "type": "Sequence",
        "pretokenizers": [
            {"type": "Digits", "individual_digits": True},
            {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        ],
    }
}


def _require_gguf():
    if not GGUF.exists():
        raise SystemExit(f"real-model: {GGUF} is missing (node scripts/fetch-smollm2.mjs brings it)")


def _correct_pre_tokenizer(folder):
    kind = GGUFReader(GGUF).fields["tokenizer.ggml.pre"].contents()
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    tokenizer["pre_tokenizer"] = PRE_TOKENIZERS[kind]
    path.write_text(json.dumps(tokenizer, ensure_ascii=False))


def export(_out=None):
    """Writes the folder unless it is there; it appears under its name only when complete."""
    if FOLDER.exists():
        return FOLDER
    _require_gguf()
    partial = FOLDER.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    model = AutoModelForCausalLM.from_pretrained(CACHE, gguf_file=GGUF.name, dtype=torch.float32)
    # The weights are plain float32 from here on; saving would otherwise still call them quantised.
    model.is_quantized, model.hf_quantizer = False, None
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.save_pretrained(partial)
    AutoTokenizer.from_pretrained(CACHE, gguf_file=GGUF.name).save_pretrained(partial)
    _correct_pre_tokenizer(partial)
    partial.rename(FOLDER)
    print(f"export: {FOLDER}")
    return FOLDER


def load_model():
    model = AutoModelForCausalLM.from_pretrained(export(), dtype=torch.float32, attn_implementation="sdpa")
    return model.eval()


def load_tokenizer():
    return AutoTokenizer.from_pretrained(export())


def load_gguf_tokenizer():
    """The tokenizer as transformers reads it from the GGUF, its pre-tokenizer not corrected."""
    _require_gguf()
    return AutoTokenizer.from_pretrained(CACHE, gguf_file=GGUF.name)
