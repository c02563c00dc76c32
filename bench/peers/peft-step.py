"""Times training steps of Hugging Face PEFT (LoRA, if no other method is named) in float32 on the CPU; prints one line of JSON.

    python bench/peers/peft-step.py --mode eager --batch 4 --length 256

A step is: forward, loss, backward, gradient clipping, AdamW. Warm-up steps are run first and excluded
from the median; `seconds_to_first_step` counts from the start of the process to the end of the very first.
"""

import time

STARTED = time.time()  # replaced by the process's own start time where the system tells it

import argparse  # noqa: E402
import importlib.metadata  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import platform  # noqa: E402
import resource  # noqa: E402
import statistics  # noqa: E402
import sys  # noqa: E402
import warnings  # noqa: E402
from pathlib import Path  # noqa: E402

os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")

MODEL = Path(__file__).parents[2] / ".cache" / "smollm2" / "hf"
MODES = ["eager", "compile", "checkpointing"]


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--mode", choices=MODES, default="eager")
    parser.add_argument("--model", type=Path, default=MODEL, help="checkpoint folder (%(default)s)")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument(
        "--method", type=json.loads, help='configuration class and its arguments, as {"config": "IA3Config", ...}'
    )
    parser.add_argument(
        "--quantization", choices=["nf4", "fp4", "int8"], help="base quantised by bitsandbytes, scales too"
    )
    parser.add_argument("--depth", type=int, help="keep only the first so many layers")
    parser.add_argument(
        "--trainable-fraction", type=float, default=1.0, help="labels are -100 but on this last share of each row"
    )
    parser.add_argument("--steps", type=int, default=5, help="measured steps (%(default)s)")
    parser.add_argument("--warmup", type=int, default=2, help="steps before them (%(default)s)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    arguments = parser.parse_args()
    if not (arguments.model / "config.json").is_file():
        parser.error(
            f"{arguments.model} holds no model "
            "(node scripts/fetch-smollm2.mjs, then python tests/parity/real-model.py export)"
        )
    if not 0 < arguments.trainable_fraction <= 1:
        parser.error(f"--trainable-fraction must be above 0 and at most 1, not {arguments.trainable_fraction}")
    for name in ("batch", "length", "rank", "steps", "threads"):
        if getattr(arguments, name) < 1:
            parser.error(f"--{name} must be at least 1")
    return arguments


def process_start():
    """Seconds since the epoch at which the system started this process."""
    try:
        import psutil

        return psutil.Process().create_time()
    except ImportError:
        return STARTED


def memory(field):
    """VmHWM (peak) or VmRSS (now) of this process in bytes; elsewhere than on Linux the peak."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def reset_peak():
    """Lets VmHWM start again from the current size; false where the system does not allow it."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
        return True
    except OSError:
        return False


def make_batch(torch, arguments, vocabulary):
    """The same tokens for every peer: token i of the batch, row by row, is 17 + 7919 i mod (vocabulary - 17)."""
    count = arguments.batch * arguments.length
    ids = 17 + torch.arange(count) * 7919 % (vocabulary - 17)
    ids = ids.reshape(arguments.batch, arguments.length)
    labels = ids.clone()
    trained = max(1, round(arguments.length * arguments.trainable_fraction))
    labels[:, : arguments.length - trained] = -100
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}


def quantization(torch, kind):
    """What bitsandbytes is asked for, as arguments of from_pretrained; it computes in float32 as the others do."""
    if kind is None:
        return {}
    from transformers import BitsAndBytesConfig

    config = (
        BitsAndBytesConfig(load_in_8bit=True)
        if kind == "int8"
        else BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type=kind,
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.float32,
        )
    )
    return {"quantization_config": config, "device_map": "cpu"}


def build(torch, arguments):
    """(the model to call, its trainable parameters)."""
    import peft
    from transformers import AutoModelForCausalLM

    settings = {"num_hidden_layers": arguments.depth} if arguments.depth else {}
    settings.update(quantization(torch, arguments.quantization))
    base = AutoModelForCausalLM.from_pretrained(arguments.model, dtype=torch.float32, **settings)
    base.config.use_cache = False
    if arguments.mode == "checkpointing":
        base.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    torch.manual_seed(0)
    settings = arguments.method or {
        "config": "LoraConfig",
        "r": arguments.rank,
        "lora_alpha": 16,
        "target_modules": ["q_proj", "v_proj"],
    }
    make_config = getattr(peft, settings["config"])
    config = make_config(task_type="CAUSAL_LM", **{key: value for key, value in settings.items() if key != "config"})
    model = peft.get_peft_model(base, config).train()
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return (torch.compile(model) if arguments.mode == "compile" else model), parameters


def measure(arguments):
    import peft
    import torch
    import transformers

    torch.set_num_threads(arguments.threads)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    model, parameters = build(torch, arguments)
    batch = make_batch(torch, arguments, model.config.vocab_size)
    adam = torch.optim.AdamW(parameters, lr=2e-4)

    loading_peak, loaded = memory("VmHWM"), memory("VmRSS")
    can_reset = reset_peak()
    seconds, losses, first = [], [], None
    for _ in range(arguments.warmup + arguments.steps):
        began = time.perf_counter()
        adam.zero_grad(set_to_none=True)
        loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        adam.step()
        if hasattr(model, "update_and_allocate"):  # AdaLoRA leaves it to the caller
            model.base_model.update_and_allocate(len(losses) + 1)
        losses.append(loss.item())
        seconds.append(time.perf_counter() - began)
        first = first or time.time() - process_start()
    stepping_peak = memory("VmHWM")

    measured = seconds[arguments.warmup :]
    return {
        "peer": f"peft-{arguments.mode}" + (f"-{arguments.quantization}" if arguments.quantization else ""),
        "tokens_per_second": arguments.batch * arguments.length / statistics.median(measured),
        "steps": measured,
        "warmup_steps": seconds[: arguments.warmup],
        "seconds_to_first_step": first,
        "peak_rss_bytes": max(loading_peak, stepping_peak),
        "peak_rss_while_stepping_bytes": stepping_peak if can_reset else None,
        "rss_after_loading_bytes": loaded,
        "trainable_parameters": sum(parameter.numel() for parameter in parameters),
        "loss": losses[-1],
        "losses": losses,
        "batch": arguments.batch,
        "length": arguments.length,
        "rank": arguments.rank,
        "depth": model.config.num_hidden_layers,
        "trainable_fraction": arguments.trainable_fraction,
        "threads": torch.get_num_threads(),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "peft": peft.__version__,
            **({"bitsandbytes": importlib.metadata.version("bitsandbytes")} if arguments.quantization else {}),
        },
    }


def main():
    arguments = parse_arguments()
    warnings.simplefilter("ignore")
    print(json.dumps(measure(arguments)))


if __name__ == "__main__":
    main()
