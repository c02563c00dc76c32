"""Loads a model folder that tunesmith merged an adapter into and compares what it computes.

    python tests/parity/check-merged.py MODEL_DIR IO.safetensors

IO.safetensors is what tunesmith computed with the adapter beside its model: `inputIds` and `attentionMask`
[batch, seq], `logits` [batch, seq, vocabulary]. Exit code 1 where Transformers refuses the folder, lacks a
weight, or differs by more than the tolerance, as a share of the largest magnitude.
"""

import os
import sys
from pathlib import Path

os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")

import torch  # noqa: E402
import transformers  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

TOLERANCE = 1e-4


def check(directory, io):
    """A list of faults, empty where Transformers agrees."""
    model, found = transformers.AutoModelForCausalLM.from_pretrained(
        directory, dtype=torch.float32, output_loading_info=True
    )
    faults = [f"{kind}: {sorted(found[kind])}" for kind in ("missing_keys", "unexpected_keys") if found[kind]]
    mask = io["attentionMask"].long()
    with torch.inference_mode():
        logits = model.eval()(input_ids=io["inputIds"].long(), attention_mask=mask).logits
    # Nothing defines the logits at padded positions.
    real = mask.bool().unsqueeze(-1)
    scale = (logits * real).abs().max().item()
    difference = ((io["logits"] - logits) * real).abs().max().item() / scale
    print(f"logits: differ by {difference:.2e} of the largest magnitude {scale:.4g}")
    # `not <=`, so that a NaN counts as a difference.
    return faults if difference <= TOLERANCE else [*faults, f"logits: {difference:.2e} is more than {TOLERANCE:.0e}"]


def main():
    directory, io = map(Path, sys.argv[1:])
    transformers.utils.logging.disable_progress_bar()
    try:
        faults = check(directory, load_file(io))
    except Exception as error:  # noqa: BLE001
        faults = [f"Transformers refuses the folder: {error}"]
    for fault in faults:
        print(f"check-merged: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
