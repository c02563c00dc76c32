"""Loads an adapter that tunesmith trained in the real PEFT and compares what both compute.

    python tests/parity/check-adapter.py ADAPTER_DIR MODEL_DIR IO.safetensors

MODEL_DIR is the base model as a checkpoint folder. IO.safetensors is what tunesmith wrote: `inputIds`
[batch, seq], `attentionMask` where there is padding, `logits` [batch, seq, vocabulary], and `labels` with
`loss` where there are labels; of a classifier `logits` [batch, labels] and `rowLabels` [batch, 1]. Exit code 1 where anything differs by more than the tolerance, as a share of
the largest magnitude, or where the adapter's file does not hold exactly the tensors that PEFT expects.
"""

import argparse
import os
import sys
import warnings
from pathlib import Path

os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")

import torch  # noqa: E402
import transformers  # noqa: E402
from peft import PeftConfig, PeftModel, get_peft_model_state_dict  # noqa: E402
from safetensors import safe_open  # noqa: E402
from safetensors.torch import load_file  # noqa: E402


def _key_faults(model, adapter):
    """What the file lacks, or holds for nothing: PEFT itself only warns."""
    with safe_open(adapter / "adapter_model.safetensors", "pt") as file:
        stored = set(file.keys())
    expected = set(get_peft_model_state_dict(model))
    if model.active_peft_config.peft_type == "XLORA":
        # PEFT 0.21.2 takes some of the classifier's layers for those of an adapter.
        expected = {name for name in model.state_dict() if "internal_xlora_classifier" in name}
    # Frozen weights that PEFT copies into the file where embeddings or the head are targeted.
    frozen = {name for name in expected if name.endswith(".base_layer.weight")}
    return [
        *(f"the adapter lacks {name}" for name in sorted(expected - frozen - stored)),
        *(f"PEFT has no use for {name}" for name in sorted(stored - expected)),
    ]


def _load(base, adapter):
    config = PeftConfig.from_pretrained(adapter)
    if config.peft_type == "XLORA":
        base.config.use_cache = False
        config.adapters = {name: str(adapter / f"expert-{name}") for name in config.adapters}
    return PeftModel.from_pretrained(base, adapter, config=config).eval()


def _base(directory, adapter):
    """The model as the adapter's task has it, a classifier with as many labels as the adapter's head."""
    if PeftConfig.from_pretrained(adapter).task_type != "SEQ_CLS":
        return transformers.AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
    with safe_open(adapter / "adapter_model.safetensors", "pt") as file:
        labels = file.get_slice("base_model.model.score.weight").get_shape()[0]
    return transformers.AutoModelForSequenceClassification.from_pretrained(
        directory, dtype=torch.float32, num_labels=labels
    )


def _compare(name, written, computed, tolerance):
    if written.shape != computed.shape:
        return [f"{name}: tunesmith wrote shape {list(written.shape)}, PEFT gives {list(computed.shape)}"]
    scale = computed.abs().max().item()
    difference = (written.double() - computed.double()).abs().max().item() / scale
    print(f"{name}: differ by {difference:.2e} of the largest magnitude {scale:.4g}")
    # `not <=`, so that a NaN counts as a difference.
    return [] if difference <= tolerance else [f"{name}: {difference:.2e} is more than {tolerance:.0e}"]


def check(adapter, model_directory, io, tolerance):
    """A list of faults, empty where PEFT agrees."""
    base = _base(model_directory, adapter)
    if hasattr(base.config, "quantization_config"):
        # In evaluation bitsandbytes computes in bfloat16 on some processors.
        base = base.dequantize()
    try:
        model = _load(base, adapter)
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        return [f"PEFT refuses the adapter: {error}"]
    faults = _key_faults(model, adapter)
    inputs = {"input_ids": io["inputIds"].long()}
    real = torch.ones_like(inputs["input_ids"])
    if "attentionMask" in io:
        real = inputs["attention_mask"] = io["attentionMask"].long()
    # PEFT's AdaLoRA computes no loss unless it is trained.
    has_loss = "loss" in io and "labels" in io and model.active_peft_config.peft_type != "ADALORA"
    if has_loss:
        inputs["labels"] = io["labels"].long()
    if "rowLabels" in io:
        has_loss = True
        inputs["labels"] = io["rowLabels"] if base.config.num_labels == 1 else io["rowLabels"].long()
    with torch.inference_mode():
        output = model(**inputs)
    if "rowLabels" in io:
        return [
            *faults,
            *_compare("logits", io["logits"], output.logits, tolerance),
            *_compare("loss", io["loss"].reshape(()), output.loss, tolerance),
        ]
    # Virtual tokens have logits in PEFT alone.
    output.logits = output.logits[:, -real.shape[1] :]
    # Nothing defines the logits at padded positions.
    real = real.bool().unsqueeze(-1)
    faults += _compare("logits", io["logits"] * real, output.logits * real, tolerance)
    if has_loss:
        faults += _compare("loss", io["loss"].reshape(()), output.loss, tolerance)
    return faults


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("adapter", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("io", type=Path)
    parser.add_argument("--tolerance", type=float, default=1e-4)
    arguments = parser.parse_args()
    for path in (arguments.adapter / "adapter_config.json", arguments.model / "config.json", arguments.io):
        if not path.is_file():
            parser.error(f"{path} does not exist")
    io = load_file(arguments.io)
    missing = [name for name in ("inputIds", "logits") if name not in io]
    if missing:
        parser.error(f"{arguments.io} lacks {missing[0]} (it holds {', '.join(io)})")
    transformers.utils.logging.disable_progress_bar()
    warnings.simplefilter("ignore")
    faults = check(arguments.adapter, arguments.model, io, arguments.tolerance)
    for fault in faults:
        print(f"check-adapter: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
