"""Adapters that PEFT makes, saves and loads again, and cases of what they compute.

Every expectation comes from the adapter as PEFT loads it back from the stored files, so that the
files alone must suffice.
"""

import torch
from peft import PeftModel, get_peft_model, get_peft_model_state_dict

from .evaluate import evaluate, train, trajectory_difference
from .store import write_case
from .tiny_model import load_model

OPTIMIZER = {"learningRate": 1e-2, "weightDecay": 0.01, "betas": [0.9, 0.999], "eps": 1e-8, "maxGradNorm": 1.0}


def perturb(model, seed, adapter_noise=0.3, other_noise=0.1):
    """Moves everything trainable away from its initial value, B away from zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            if parameter.requires_grad:
                noise = torch.randn(parameter.shape, generator=generator)
                parameter.add_(noise * (adapter_noise if "lora_" in name else other_noise))


def save(model, directory, **options):
    """As PEFT writes it, except for the model card and the path of the base model."""
    model.save_pretrained(directory, **options)
    (directory / "README.md").unlink()


def fresh(base, seed, config):
    """A model with a new adapter of `config`, in evaluation mode."""
    torch.manual_seed(seed)
    model = get_peft_model(load_model(base), config)
    model.peft_config["default"].base_model_name_or_path = "tiny-llama"
    return model.eval()


def load(base, adapter):
    return PeftModel.from_pretrained(load_model(base), adapter, is_trainable=True).eval()


def by_file_key(model, tensors):
    """From parameter names to the keys that PEFT uses in the adapter's file."""
    files = get_peft_model_state_dict(model, state_dict={**model.state_dict(), **tensors}, save_embedding_layers=False)
    given = {id(value) for value in tensors.values()}
    renamed = {key: value for key, value in files.items() if id(value) in given}
    assert len(renamed) == len(tensors), set(tensors) - set(renamed)
    return renamed


def store(directory, shows, base, adapter, batch):
    model = load(directory / base, directory / adapter)
    results = evaluate(model, batch)
    results["gradients"] = by_file_key(model, results["gradients"])
    write_case(directory, shows, results, [batch], model=base, adapter=adapter)


def write_trajectory(directory, shows, base, adapter, batches, steps=20):
    model = load(directory / base, directory / adapter)
    losses, norms, final = train(model, batches, steps, OPTIMIZER)
    tensors = {f"final/{key}": value for key, value in by_file_key(model, final).items()}
    write_case(
        directory,
        shows,
        None,
        batches,
        tensors,
        model=base,
        adapter=adapter,
        optimizer=OPTIMIZER,
        losses=losses,
        gradientNorms=norms,
        float32Difference=trajectory_difference(model, batches, OPTIMIZER, losses, norms, final),
    )
