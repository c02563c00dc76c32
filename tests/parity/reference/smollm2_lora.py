"""A LoRA run of PEFT on real text, with the very tokens stored, so that both sides train on the same.

The text is the language reference that Python carries in `pydoc_data.topics` (PSF licence), which
every reader of this can print with `help("topics")`.
"""

import importlib

import numpy
import torch
from peft import LoraConfig, get_peft_model
from safetensors.numpy import load_file, save_file

from .smollm2 import load_model, load_tokenizer
from .store import write_json

STEPS, BATCH, LENGTH, HELD_OUT = 40, 4, 256, 16
RANK, ALPHA, TARGETS = 8, 16, ["q_proj", "v_proj"]
OPTIMIZER = {"learningRate": 2e-4, "weightDecay": 0.0, "betas": [0.9, 0.999], "eps": 1e-8, "maxGradNorm": 1.0}
SEEDS = [0, 1]  # of A's initial values, the only chance left in the run: their spread is the noise


def _write_tokens(path):
    """Topics in alphabetical order, one row of 256 tokens after the other; every eleventh row is held out."""
    topics = importlib.import_module("pydoc_data.topics").topics
    tokenizer = load_tokenizer()
    tokens, rows = [], STEPS * BATCH + HELD_OUT
    for name in sorted(topics):
        tokens += [*tokenizer(topics[name]).input_ids, 0]
        if len(tokens) >= rows * LENGTH:
            break
    rows = numpy.array(tokens[: rows * LENGTH], dtype=numpy.uint16).reshape(rows, LENGTH)
    held_out = numpy.arange(len(rows)) % 11 == 10
    assert held_out.sum() == HELD_OUT
    train = rows[~held_out][numpy.random.default_rng(0).permutation(STEPS * BATCH)]
    save_file({"train": train.reshape(STEPS, BATCH, LENGTH), "heldOut": rows[held_out]}, path)


def _held_out_loss(model, rows):
    with torch.inference_mode():
        losses = [model(part, labels=part).loss.item() for part in rows.split(BATCH)]
    return sum(losses) / len(losses)


def _run(seed, batches, held_out):
    torch.manual_seed(seed)
    config = LoraConfig(task_type="CAUSAL_LM", r=RANK, lora_alpha=ALPHA, lora_dropout=0.0, target_modules=TARGETS)
    base = load_model()
    base.config.use_cache = False
    model = get_peft_model(base, config)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    adam = torch.optim.AdamW(
        parameters,
        lr=OPTIMIZER["learningRate"],
        betas=tuple(OPTIMIZER["betas"]),
        eps=OPTIMIZER["eps"],
        weight_decay=OPTIMIZER["weightDecay"],
    )
    before, losses = _held_out_loss(model, held_out), []
    for step, batch in enumerate(batches):
        adam.zero_grad(set_to_none=True)
        loss = model(batch, labels=batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, OPTIMIZER["maxGradNorm"])
        adam.step()
        losses.append(round(loss.item(), 6))
        print(f"lora: seed {seed} step {step + 1}/{len(batches)} loss {losses[-1]:.4f}", flush=True)
    return {"seed": seed, "losses": losses, "heldOut": {"before": before, "after": _held_out_loss(model, held_out)}}


def write_lora(out):
    path = out / "text.safetensors"
    if not path.exists():  # Python's own text changes between versions; the stored tokens stay
        _write_tokens(path)
    tokens = {name: torch.from_numpy(rows.astype(numpy.int64)) for name, rows in load_file(path).items()}
    facts = {
        "shows": "LoRA on real text: losses of each step and the held-out loss before and after",
        "method": {"name": "lora", "rank": RANK, "alpha": ALPHA, "targets": TARGETS},
        "optimizer": OPTIMIZER,
        "schedule": "constant",
        "tokens": "text.safetensors: train [steps, batch, length], heldOut [rows, length]; labels are the tokens",
        "runs": [],
    }
    for seed in SEEDS:
        facts["runs"].append(_run(seed, tokens["train"], tokens["heldOut"]))
        write_json(out / "lora.json", facts)  # after each, as a run takes minutes
        print(f"lora: seed {seed} held-out loss {facts['runs'][-1]['heldOut']}", flush=True)
