"""Loss, logits and gradients of one batch, in float32 as the libraries do it and in float64."""

import contextlib
import copy

import torch

from .precision import float64_arithmetic, relative_difference


NAMES = {
    "inputIds": "input_ids",
    "attentionMask": "attention_mask",
    "labels": "labels",
    "rowLabels": "labels",
    "pixelValues": "pixel_values",
}


def _inputs(batch, dtype):
    """Values that a classifier learns are in the model's precision."""
    return {
        NAMES[key]: value.to(dtype) if value.is_floating_point() else value for key, value in batch.items()
    }


def step(model, batch):
    """Forward and backward once: (loss tensor, logits); gradients are left on the parameters."""
    model.zero_grad(set_to_none=True)
    output = model(**_inputs(batch, next(model.parameters()).dtype))
    output.loss.backward()
    return output.loss.detach(), output.logits.detach()


def _gradients(model):
    return {
        name: parameter.grad.detach()
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and parameter.grad is not None and parameter.numel() > 0
    }


def evaluate(model, batch, zero_below=0.0):
    """Float64 results, and how far the libraries' own float32 results lie from them.

    Returns a dict with `loss` (float), `logits` and `gradients` (float64 tensors by parameter name),
    and `float32` (relative differences). Logits at padded positions are set to zero: nothing that a
    user sees depends on them, and implementations differ there. Gradients smaller than `zero_below` times
    the largest one are rounding where the true value is zero; they are set to it.
    """
    loss, logits = step(model, batch)
    gradients = _gradients(model)
    # A copy, as the caller's model must stay in float32.
    exact = copy.deepcopy(model).double()
    with float64_arithmetic():
        exact_loss, exact_logits = step(exact, batch)
    exact_gradients = _gradients(exact)
    assert exact_logits.dtype == torch.float64
    assert gradients.keys() == exact_gradients.keys() and gradients
    floor = zero_below * max(value.abs().max() for value in exact_gradients.values())
    for value in exact_gradients.values():
        if value.abs().max() < floor:
            value.zero_()
    if "attentionMask" in batch and logits.dim() == 3:
        real = batch["attentionMask"].bool().unsqueeze(-1)
        logits, exact_logits = logits * real, exact_logits * real
    return {
        "loss": exact_loss.item(),
        "logits": exact_logits,
        "gradients": exact_gradients,
        "float32": {
            "loss": relative_difference(loss, exact_loss),
            "logits": relative_difference(logits, exact_logits),
            "gradients": max(
                relative_difference(gradients[name], exact_gradients[name]) for name in gradients
            ),
        },
    }


def train(model, batches, steps, optimizer, dtype=torch.float64, after_step=None):
    """An AdamW trajectory over `batches` in turn; every parameter decays.

    `after_step(model, index)` is called between the update and the next step. Returns losses (before
    each update), gradient norms (before clipping) and the final trainable tensors by parameter name.
    """
    model = copy.deepcopy(model).to(dtype)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    adam = torch.optim.AdamW(
        parameters,
        lr=optimizer["learningRate"],
        betas=tuple(optimizer["betas"]),
        eps=optimizer["eps"],
        weight_decay=optimizer["weightDecay"],
    )
    losses, norms = [], []
    with float64_arithmetic() if dtype == torch.float64 else contextlib.nullcontext():
        for index in range(steps):
            loss, _ = step(model, batches[index % len(batches)])
            norm = torch.nn.utils.clip_grad_norm_(parameters, optimizer["maxGradNorm"])
            adam.step()
            if after_step:
                after_step(model, index)
            losses.append(loss.item())
            norms.append(norm.item())
    final = {
        name: parameter.detach()
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }
    return losses, norms, final


def trajectory_difference(model, batches, optimizer, losses, norms, final, **options):
    """How far the same trajectory lies in float32 from `train`'s, as numbers for a case file."""
    found_losses, found_norms, found = train(model, batches, len(losses), optimizer, torch.float32, **options)
    differences = {
        "losses": relative_difference(torch.tensor(found_losses), torch.tensor(losses)),
        "gradientNorms": relative_difference(torch.tensor(found_norms), torch.tensor(norms)),
        "final": max(relative_difference(found[name], final[name]) for name in final),
    }
    return {key: float(f"{value:.3g}") for key, value in differences.items()}
