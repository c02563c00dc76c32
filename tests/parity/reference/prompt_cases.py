"""Cases of PEFT's virtual tokens: prompt tuning, prefix tuning and P-tuning.

PEFT saves what an encoder makes and forgets the encoder. Cases of a bare prompt are computed from the
file as PEFT loads it back. Where an encoder is trained, it lies beside that file by the names of PEFT's
own module, as tunesmith keeps it, and the expectation comes from the model that both were saved from.

PEFT's logits include virtual tokens and tunesmith's do not: those of the real positions are stored. A
row's first token is no label: tunesmith predicts it from nothing, with virtual tokens as without.
"""

import torch
from peft import PeftModel, PrefixTuningConfig, PromptEncoderConfig, PromptTuningConfig
from safetensors.torch import save_file

from .adapters import OPTIMIZER, fresh, perturb, save
from .evaluate import evaluate, train, trajectory_difference
from .store import write_case
from .tiny_model import load_model, make_batch

BASE, HEAD_DIM = "base", "head-dim"
STEPS = 10
ENCODER = "prompt_encoder.safetensors"


def _prompt(**settings):
    return PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3, **settings)


def _prefix(**settings):
    return PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3, **settings)


def _p_tuning(**settings):
    return PromptEncoderConfig(task_type="CAUSAL_LM", num_virtual_tokens=3, encoder_hidden_size=6, **settings)


# name: (what it shows, base model among the llama cases, configuration, whether its encoder is kept
# and trained, padding, whether it is trained for some steps as well)
CASES = {
    "prompt": ("a prompt from random values", BASE, _prompt(), False, "right", True),
    "prompt-vocabulary": (
        "a prompt from the vocabulary, a row padded on the left",
        BASE,
        _prompt(prompt_tuning_init="SAMPLE_VOCAB"),
        False,
        "left",
        False,
    ),
    "prefix": ("keys and values of every layer", BASE, _prefix(), False, "right", True),
    "prefix-head-dim": (
        "heads that are wider than the hidden size over their number, from zeros, padded on the left",
        HEAD_DIM,
        _prefix(init_weights="zero"),
        False,
        "left",
        False,
    ),
    "prefix-projection": (
        "a prefix by an encoder",
        BASE,
        _prefix(prefix_projection=True, encoder_hidden_size=6),
        True,
        "right",
        True,
    ),
    "prefix-baked": (
        "a prefix by an encoder, as PEFT saves it: a flat one is left",
        BASE,
        _prefix(prefix_projection=True, encoder_hidden_size=6),
        False,
        None,
        False,
    ),
    "p-tuning-mlp": ("a prompt by an MLP", BASE, _p_tuning(), True, "right", True),
    "p-tuning-lstm": (
        "a prompt by a bidirectional LSTM of three layers",
        BASE,
        _p_tuning(encoder_reparameterization_type="LSTM", encoder_num_layers=3),
        True,
        "left",
        True,
    ),
    "p-tuning-baked": (
        "a prompt by an LSTM, as PEFT saves it: a bare prompt is left",
        BASE,
        _p_tuning(encoder_reparameterization_type="LSTM"),
        False,
        None,
        False,
    ),
}


class _RealPositions(torch.nn.Module):
    """The model without the logits of virtual tokens."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, **inputs):
        output = self.model(input_ids=input_ids, **inputs)
        output.logits = output.logits[:, -input_ids.shape[1] :]
        return output


def _bare(base, adapter):
    """The saved adapter with its one tensor trainable, which PEFT itself leaves frozen."""
    model = PeftModel.from_pretrained(load_model(base), adapter).eval()
    model.prompt_encoder["default"].embedding.weight.requires_grad_(True)
    return model


def _by_layer(tensors, key, layers, axis):
    """One tensor of all layers as tunesmith trains it: a piece for each."""
    if key in tensors:
        for layer, part in enumerate(tensors.pop(key).chunk(layers, axis)):
            tensors[f"{key}.{layer}"] = part


def _by_file_key(model, tensors, has_encoder):
    named = {name.removeprefix("model.").replace(".default.", "."): value for name, value in tensors.items()}
    if not has_encoder:
        named = {"prompt_embeddings": named.pop("prompt_encoder.embedding.weight"), **named}
    config = model.peft_config["default"]
    if config.peft_type == "PREFIX_TUNING":
        _by_layer(named, "prompt_embeddings", config.num_layers, 1)
        _by_layer(named, "prompt_encoder.transform.2.weight", config.num_layers, 0)
        _by_layer(named, "prompt_encoder.transform.2.bias", config.num_layers, 0)
    return named


def _save_encoder(model, path):
    state = model.prompt_encoder["default"].state_dict()
    save_file({f"prompt_encoder.{name}": value.contiguous() for name, value in state.items()}, path)


def _batch(seed, padding=None):
    batch = make_batch(seed, length=9, padding=padding)
    batch["labels"][:, 0] = -100
    return batch


def write_prompt_cases(root):
    """Writes every case below `root`; base models are those of the llama cases beside it."""
    for index, (name, (shows, base_name, config, has_encoder, padding, is_trained)) in enumerate(CASES.items()):
        base = f"../../llama/{base_name}/model"
        directory = root / name
        directory.mkdir(parents=True)
        model = fresh(directory / base, 3000 + index, config)
        perturb(model, 3100 + index)
        save(model, directory / "adapter")
        bare = _bare(directory / base, directory / "adapter")
        if has_encoder:
            _save_encoder(model, directory / "adapter" / ENCODER)
        else:
            model = bare
        real = _RealPositions(model)
        batch = _batch(3200 + index, padding)
        results = evaluate(real, batch)
        baked = evaluate(_RealPositions(bare), batch)["logits"]
        assert torch.allclose(baked, results["logits"], atol=1e-4), f"{name}: PEFT's file is another prompt"
        results["gradients"] = _by_file_key(model, results["gradients"], has_encoder)
        write_case(directory, shows, results, [batch], model=base, adapter="adapter")
        if is_trained:
            _write_trajectory(root / f"{name}-trajectory", shows, base, f"../{name}/adapter", real, has_encoder, index)


def _write_trajectory(directory, shows, base, adapter, real, has_encoder, index):
    batches = [_batch(3300 + index), _batch(3400 + index, "right")]
    losses, norms, final = train(real, batches, STEPS, OPTIMIZER)
    tensors = _by_file_key(real.model, dict(final), has_encoder)
    write_case(
        directory,
        f"{STEPS} AdamW steps: {shows}",
        None,
        batches,
        {f"final/{key}": value for key, value in tensors.items()},
        model=base,
        adapter=adapter,
        optimizer=OPTIMIZER,
        losses=losses,
        gradientNorms=norms,
        float32Difference=trajectory_difference(real, batches, OPTIMIZER, losses, norms, final),
    )
