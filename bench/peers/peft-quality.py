"""Trains one PEFT method on batches that bench/quality-run.ts wrote, and saves the adapter.

    python bench/peers/peft-quality.py --batches FILE --model FOLDER --method '{"config": "LoraConfig", ...}' \\
        --learning-rate 0.003 --out FOLDER
"""

import argparse
import json
import os
import platform
import time
import warnings
from pathlib import Path

os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")

import peft  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402


def tensors(batch):
    names = {"inputIds": "input_ids", "attentionMask": "attention_mask", "labels": "labels"}
    return {name: torch.tensor(batch[key]) for key, name in names.items() if key in batch}


def build(arguments, steps):
    base = transformers.AutoModelForCausalLM.from_pretrained(arguments.model, dtype=torch.float32)
    base.config.use_cache = False
    settings = dict(arguments.method)
    config = getattr(peft, settings.pop("config"))
    if config is peft.AdaLoraConfig:
        settings["total_step"] = steps
    torch.manual_seed(arguments.seed)
    return peft.get_peft_model(base, config(task_type="CAUSAL_LM", **settings)).train()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--batches", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--method", type=json.loads, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--learning-rate", type=float, required=True, help="the peak; each step has its share")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    warnings.simplefilter("ignore")

    steps = [json.loads(line) for line in arguments.batches.read_text().splitlines()]
    model = build(arguments, len(steps))
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    adam = torch.optim.AdamW(parameters, lr=1.0, weight_decay=0.0)
    began = time.perf_counter()
    for number, step in enumerate(steps):
        adam.zero_grad(set_to_none=True)
        (batch,) = step["batches"]
        model(**tensors(batch)).loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        for group in adam.param_groups:
            group["lr"] = arguments.learning_rate * step["share"]
        adam.step()
        if isinstance(model.base_model, peft.AdaLoraModel):
            model.base_model.update_and_allocate(number)
    seconds = time.perf_counter() - began
    model.save_pretrained(arguments.out)
    report = {
        "seconds": seconds,
        "trainable_parameters": sum(parameter.numel() for parameter in parameters),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "peft": peft.__version__,
        },
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
