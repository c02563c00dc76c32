"""64 greedy tokens on ten prompts, end-of-text ignored, with how close each choice was."""

import torch

from .smollm2 import load_model, load_tokenizer
from .store import write_json

NEW_TOKENS = 64

CHATS = [
    "What is gravity?",
    "Write a short poem about the sea.",
    "List three uses of copper.",
    "Explain recursion to a child.",
    "Translate to French: The cat sleeps on the chair.",
]

TEXTS = [
    "Once upon a time, in a village by the river, there lived",
    "def fibonacci(n):\n    ",
    "The three laws of thermodynamics are",
    "In 1969, the Apollo 11 mission",
    "Ingredients:\n- 2 cups of flour\n- 1 cup of sugar\n",
]


def continued(model, ids, count):
    """(new token ids, smallest gap between the best and the second-best logit)."""
    tokens, gap, cache, step = [], float("inf"), None, torch.tensor([ids])
    for _ in range(count):
        output = model(step, past_key_values=cache, use_cache=True)
        cache = output.past_key_values
        best = output.logits[0, -1].topk(2)
        gap = min(gap, (best.values[0] - best.values[1]).item())
        tokens.append(best.indices[0].item())
        step = best.indices[:1].unsqueeze(0)
    return tokens, gap


def write_greedy(out):
    model, tokenizer = load_model(), load_tokenizer()
    prompts = [
        tokenizer.apply_chat_template([{"role": "user", "content": text}], tokenize=False, add_generation_prompt=True)
        for text in CHATS
    ] + TEXTS
    entries = []
    with torch.inference_mode():
        for prompt in prompts:
            ids = tokenizer(prompt).input_ids
            tokens, gap = continued(model, ids, NEW_TOKENS)
            entries.append(
                {
                    "prompt": prompt,
                    "promptIds": ids,
                    "tokenIds": tokens,
                    "text": tokenizer.decode(tokens),
                    "smallestGap": round(gap, 5),
                }
            )
    write_json(out / "greedy.json", {"newTokens": NEW_TOKENS, "ignoreEos": True, "prompts": entries})
    closest = min(entry["smallestGap"] for entry in entries)
    print(f"greedy: {len(entries)} prompts, closest choice {closest} apart")
