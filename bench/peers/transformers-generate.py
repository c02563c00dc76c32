"""Times generation of Transformers in float32 on the CPU; prints one line of JSON of the same shape as bench/generate-run.ts.

    python bench/peers/transformers-generate.py
"""

import time

STARTED = time.time()  # replaced by the parent's word where it gives one

import argparse  # noqa: E402
import importlib.metadata  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import platform  # noqa: E402
import resource  # noqa: E402
from pathlib import Path  # noqa: E402

os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
STARTED = float(os.environ.get("TUNESMITH_BENCH_SPAWNED", STARTED * 1000)) / 1000

MODEL = Path(__file__).parents[2] / ".cache" / "smollm2" / "hf"
PROMPT, SHORT_PROMPT, WRITTEN, SEQUENCES = 512, 16, 64, 8


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", type=Path, default=MODEL, help="checkpoint folder (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    arguments = parser.parse_args()

    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(arguments.threads)
    model = AutoModelForCausalLM.from_pretrained(arguments.model, dtype=torch.float32).eval()
    vocabulary = model.config.vocab_size

    def tokens(rows, count):
        return torch.tensor([[17 + 7919 * i % (vocabulary - 17) for i in range(count)]] * rows)

    @torch.no_grad()
    def write(rows, count):
        """Seconds of greedy tokens behind a short prompt, the prompt's own pass left out."""
        out = model(tokens(rows, SHORT_PROMPT), use_cache=True, logits_to_keep=1)
        began = time.perf_counter()
        for _ in range(count):
            out = model(out.logits[:, -1:].argmax(-1), past_key_values=out.past_key_values, use_cache=True)
        return time.perf_counter() - began

    @torch.no_grad()
    def read():
        began = time.perf_counter()
        model(tokens(1, PROMPT), use_cache=True, logits_to_keep=1)
        return time.perf_counter() - began

    write(1, 1)
    first = time.time() - STARTED
    best = {"read": 0, "one": 0, "all": 0}
    for _ in range(arguments.rounds):
        best["read"] = max(best["read"], PROMPT / read())
        best["one"] = max(best["one"], WRITTEN / write(1, WRITTEN))
        best["all"] = max(best["all"], SEQUENCES * WRITTEN / write(SEQUENCES, WRITTEN))
    line = {
        "peer": "transformers",
        "read_tokens_per_second": best["read"],
        "write_tokens_per_second": best["one"],
        "write_all_tokens_per_second": best["all"],
        "seconds_to_first_token": first,
        "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in ("torch", "transformers")},
        },
    }
    print(json.dumps(line))


main()
