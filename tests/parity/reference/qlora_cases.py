"""LoRA over quantised bases: checkpoints that bitsandbytes quantised, adapters that PEFT made on them.

Its CPU kernels know no float64, so the exact results are those of the same checkpoint dequantised by
transformers; that bitsandbytes' own float32 forward and backward agree with them is asserted here. In
evaluation mode it would compute in bfloat16 on some processors: models are in training mode, which
changes nothing else without dropout. Every width is a whole number of blocks (quantization_cases.py says why).
"""

import shutil
import tempfile

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import BitsAndBytesConfig, LlamaForCausalLM

from .adapters import OPTIMIZER, by_file_key, perturb, save
from .evaluate import evaluate, step, train, trajectory_difference
from .precision import relative_difference
from .store import write_case
from .tiny_model import make_batch, make_model

FOUR_BIT = {"load_in_4bit": True, "bnb_4bit_compute_dtype": torch.float32}

BASE = {"vocab_size": 71, "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1}

# name: (what it shows, quantisation, adapter settings, batch settings)
CASES = {
    "nf4-double": (
        "NF4 with double quantisation, LoRA on every linear layer, a row padded on the right",
        {**FOUR_BIT, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True},
        {"r": 4, "lora_alpha": 8, "target_modules": "all-linear"},
        {"padding": "right"},
    ),
    "fp4": (
        "FP4 with float32 scales, LoRA on q_proj and v_proj",
        {**FOUR_BIT, "bnb_4bit_quant_type": "fp4"},
        {"r": 4, "target_modules": ["q_proj", "v_proj"]},
        {},
    ),
    "int8": (
        "8 bits, LoRA on o_proj and down_proj",
        {"load_in_8bit": True},
        {"r": 4, "target_modules": ["o_proj", "down_proj"]},
        {},
    ),
}
STEPS = 10


def _load(directory, dequantized=False, **settings):
    model = LlamaForCausalLM.from_pretrained(
        directory, dtype=torch.float32, attn_implementation="sdpa", device_map="cpu", **settings
    )
    model.config.use_cache = False
    return (model.dequantize() if dequantized else model).train()


def _adapted(directory, dequantized):
    base = _load(directory / "model", dequantized)
    return PeftModel.from_pretrained(base, directory / "adapter", is_trainable=True).train()


def _own_difference(directory, batch, results):
    """How far bitsandbytes' own float32 results lie from the exact ones."""
    model = _adapted(directory, dequantized=False)
    loss, logits = step(model, batch)
    real = batch["attentionMask"].bool().unsqueeze(-1) if "attentionMask" in batch else 1
    gradients = {name: value.grad for name, value in model.named_parameters() if value.requires_grad}
    return {
        "loss": relative_difference(loss, torch.tensor(results["loss"])),
        "logits": relative_difference(logits * real, results["logits"]),
        "gradients": max(
            relative_difference(gradient, results["gradients"][name]) for name, gradient in gradients.items()
        ),
    }


def write_qlora_cases(root):
    """Writes every case below `root`, each with a quantised model of its own."""
    for index, (name, (shows, quantization, settings, batch_settings)) in enumerate(CASES.items()):
        directory = root / name
        directory.mkdir(parents=True)
        with tempfile.TemporaryDirectory() as published:
            make_model(990 + index, **BASE).save_pretrained(published)
            quantized = _load(published, quantization_config=BitsAndBytesConfig(**quantization))
        quantized.save_pretrained(directory / "model")
        (directory / "model" / "generation_config.json").unlink(missing_ok=True)
        torch.manual_seed(1000 + index)
        model = get_peft_model(quantized, LoraConfig(task_type="CAUSAL_LM", lora_dropout=0.0, **settings))
        model.peft_config["default"].base_model_name_or_path = "tiny-llama"
        perturb(model, 1010 + index, 0.2)
        save(model, directory / "adapter")

        batch = make_batch(1020 + index, **batch_settings)
        exact = _adapted(directory, dequantized=True)
        results = evaluate(exact, batch)
        own = _own_difference(directory, batch, results)
        assert max(own.values()) < 1e-5, f"{name}: bitsandbytes differs from its own weights by {own}"
        results["float32"] = own
        results["gradients"] = by_file_key(exact, results["gradients"])
        write_case(directory, shows, results, [batch], model="model", adapter="adapter")
    _write_trajectory(root)


def _write_trajectory(root):
    directory, source = root / "trajectory", root / "nf4-double"
    directory.mkdir()
    shutil.copytree(source / "model", directory / "model")
    model = get_peft_model(
        _load(directory / "model", dequantized=True),
        LoraConfig(task_type="CAUSAL_LM", lora_dropout=0.0, **CASES["nf4-double"][2]),
    )
    model.peft_config["default"].base_model_name_or_path = "tiny-llama"
    perturb(model, 1030, 0.02)
    save(model, directory / "adapter")
    shutil.rmtree(directory / "model")
    batches = [make_batch(1040), make_batch(1041, padding="right")]
    losses, norms, final = train(model, batches, STEPS, OPTIMIZER)
    write_case(
        directory,
        f"{STEPS} AdamW steps over an NF4 base, two batches in turn",
        None,
        batches,
        {f"final/{key}": value for key, value in by_file_key(model, final).items()},
        model="../nf4-double/model",
        adapter="adapter",
        optimizer=OPTIMIZER,
        losses=losses,
        gradientNorms=norms,
        float32Difference=trajectory_difference(model, batches, OPTIMIZER, losses, norms, final),
    )
