"""Loads an adapter that tunesmith trained in AdapterHub's library and compares what both compute.

    python tests/parity/check-adapterhub.py ADAPTER_DIR MODEL_DIR IO.safetensors

The arguments and the exit code are those of check-adapter.py; the interpreter is one with
requirements-adapterhub.txt.
"""

import argparse
import os
import sys
import warnings
from pathlib import Path

os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")

import adapters  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from safetensors import safe_open  # noqa: E402
from safetensors.torch import load_file  # noqa: E402


def _load(base, adapter):
    """The model with the adapter in use, and faults: the library only warns of keys it has no use for."""
    model = transformers.LlamaForCausalLM.from_pretrained(
        base, dtype=torch.float32, attn_implementation="eager"
    )
    model.config.use_cache = False
    adapters.init(model)
    before = set(model.state_dict())
    if (adapter / "adapter_setup.json").exists():
        model.load_adapter_setup(str(adapter), set_active=True, use_safetensors=True)
    else:
        model.load_adapter(str(adapter), set_active=True, with_head=False, use_safetensors=True)
    expected = {
        name
        for name in set(model.state_dict()) - before
        # The second names of tensors that the file has once.
        if ".prefix_tuning.pool." not in name
        and name.replace(".adapter_down.0.", ".adapter_norm_before.") not in model.state_dict().keys() - {name}
    }
    stored = set()
    for file in adapter.rglob("*.safetensors"):
        if file.name != "io.safetensors":
            with safe_open(file, "pt") as tensors:
                stored |= set(tensors.keys())
    faults = [f"the adapter lacks {name}" for name in sorted(expected - stored)]
    return model.eval(), faults + [f"the library has no use for {name}" for name in sorted(stored - expected)]


def _compare(name, written, computed, tolerance):
    if written.shape != computed.shape:
        return [f"{name}: tunesmith wrote shape {list(written.shape)}, the library gives {list(computed.shape)}"]
    scale = computed.abs().max().item()
    difference = (written.double() - computed.double()).abs().max().item() / scale
    print(f"{name}: differ by {difference:.2e} of the largest magnitude {scale:.4g}")
    return [] if difference <= tolerance else [f"{name}: {difference:.2e} is more than {tolerance:.0e}"]


def check(adapter, base, io, tolerance):
    """A list of faults, empty where the library agrees."""
    model, faults = _load(base, adapter)
    mask = io["attentionMask"].long()
    with torch.inference_mode():
        output = model(input_ids=io["inputIds"].long(), attention_mask=mask, labels=io["labels"].long())
    # Nothing defines the logits at padded positions.
    real = mask.bool().unsqueeze(-1)
    faults += _compare("logits", io["logits"] * real, output.logits * real, tolerance)
    return faults + _compare("loss", io["loss"].reshape(()), output.loss, tolerance)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("adapter", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("io", type=Path)
    parser.add_argument("--tolerance", type=float, default=1e-4)
    arguments = parser.parse_args()
    transformers.utils.logging.disable_progress_bar()
    warnings.simplefilter("ignore")
    faults = check(arguments.adapter, arguments.model, load_file(arguments.io), arguments.tolerance)
    for fault in faults:
        print(f"check-adapterhub: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
