"""Gemma 3 270M from its GGUF file: greedy tokens, and token ids of the texts that part tokenizers."""

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from .smollm2_greedy import TEXTS, continued
from .smollm2_tokenizer import TEXTS as VARIED
from .store import write_json

CACHE = Path(__file__).parents[3] / ".cache" / "gemma3"
GGUF = CACHE / "gemma-3-270m-q4_k_m.gguf"
NEW_TOKENS = 32

MORE_TEXTS = [
    "  two\n\n\n  lines    \t\t x",
    "<b>bold</b><start_of_turn>user\nHi<end_of_turn>\n",
    "<unused3> [multimodal] <mask>",
    " lead",
    "\n\n\n\n",
]


def write_gemma3(out):
    if not GGUF.exists():
        raise SystemExit(f"real-model: {GGUF} is missing (node scripts/fetch-gemma3.mjs brings it)")
    tokenizer = AutoTokenizer.from_pretrained(CACHE, gguf_file=GGUF.name)
    model = AutoModelForCausalLM.from_pretrained(CACHE, gguf_file=GGUF.name, dtype=torch.float32, attn_implementation="sdpa").eval()
    entries = []
    with torch.inference_mode():
        for prompt in TEXTS:
            ids = tokenizer(prompt).input_ids
            tokens, gap = continued(model, ids, NEW_TOKENS)
            text = tokenizer.decode(tokens, clean_up_tokenization_spaces=False)
            entries.append({"prompt": prompt, "promptIds": ids, "tokenIds": tokens, "text": text, "smallestGap": round(gap, 5)})
    out = out.with_name("gemma3")
    out.mkdir(exist_ok=True)
    write_json(out / "greedy.json", {"newTokens": NEW_TOKENS, "ignoreEos": True, "prompts": entries})
    texts = [{"text": text, "ids": tokenizer(text).input_ids} for text in [*VARIED, *MORE_TEXTS]]
    write_json(out / "tokenizer.json", {"texts": texts})
    print(f"gemma3: {len(entries)} prompts, closest choice {min(entry['smallestGap'] for entry in entries)} apart; {len(texts)} texts")
