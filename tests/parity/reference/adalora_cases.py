"""AdaLoRA cases: adapters with all their ranks and with some, and a training in which PEFT prunes them.

PEFT adds its orthogonality loss to every loss; here `loss` is the loss of the labels alone and
`methodLoss` the rest, while gradients and the losses of trajectories are of both.
"""

import torch
from peft import AdaLoraConfig

from .adapters import OPTIMIZER, by_file_key, fresh, load, perturb, save
from .evaluate import evaluate, train, trajectory_difference
from .store import write_case
from .tiny_model import make_batch

BASE = "../../llama/base/model"
STEPS = 14

# name: (what it shows, settings)
CASES = {
    "all-ranks": (
        "an adapter before any pruning",
        {"init_r": 4, "target_r": 2, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj", "down_proj"]},
    ),
    "strong-orthogonality": (
        "every linear module, with another weight of the orthogonality loss",
        {"init_r": 2, "target_r": 1, "orth_reg_weight": 2.0, "target_modules": "all-linear"},
    ),
}
# So few ranks stay that a module is left without any.
PRUNED = {"init_r": 3, "target_r": 1, "lora_alpha": 6, "target_modules": ["q_proj", "o_proj", "up_proj"]}
PLAN = {"tinit": 2, "tfinal": 3, "deltaT": 2, "total_step": STEPS}


def _fresh(directory, seed, settings):
    return fresh(directory / BASE, seed, AdaLoraConfig(task_type="CAUSAL_LM", **{**PLAN, **settings}))


def label_loss(model, batch):
    """The loss without the orthogonality loss that PEFT adds."""
    config = model.peft_config["default"]
    weight, config.orth_reg_weight = config.orth_reg_weight, 0.0
    loss = evaluate(model, batch)["loss"]
    config.orth_reg_weight = weight
    return loss


def _store(directory, shows, batch):
    model = load(directory / BASE, directory / "adapter")
    results = evaluate(model, batch)
    results["gradients"] = by_file_key(model, results["gradients"])
    total, results["loss"] = results["loss"], label_loss(model, batch)
    method_loss = total - results["loss"]
    write_case(directory, shows, results, [batch], model=BASE, adapter="adapter", methodLoss=method_loss)


def prune(model, step):
    """The call that PEFT leaves to the user's loop, between the update and `zero_grad`."""
    model.base_model.update_and_allocate(step)
    return model


def _pattern(model):
    pattern = model.peft_config["default"].rank_pattern
    return pattern and {key.removesuffix(".default"): kept for key, kept in pattern.items()}


def _write_trajectory(directory, shows, batches):
    model = load(directory / BASE, directory / "adapter")
    patterns = []

    def note(trained, step):
        patterns.append(_pattern(prune(trained, step)))

    losses, norms, final = train(model, batches, STEPS, OPTIMIZER, after_step=note)
    kept = patterns[:STEPS]
    difference = trajectory_difference(model, batches, OPTIMIZER, losses, norms, final, after_step=note)
    assert patterns[STEPS:] == kept, "float32 keeps other ranks than float64"
    assert len({str(pattern) for pattern in kept}) >= 4, "too few allocations"
    assert any(not any(of_module) for of_module in kept[-1].values()), "no module without ranks"
    write_case(
        directory,
        shows,
        None,
        batches,
        {f"final/{key}": value for key, value in by_file_key(model, final).items()},
        model=BASE,
        adapter="adapter",
        optimizer=OPTIMIZER,
        losses=losses,
        gradientNorms=norms,
        rankPatterns=kept,
        float32Difference=difference,
    )


def _write_pruned(directory, shows, batches, batch):
    """The file that PEFT writes after pruning, and what it makes of it when it is loaded again."""
    model = load(directory.parent / "pruning" / BASE, directory.parent / "pruning" / "adapter")
    trained = []
    train(model, batches, STEPS, OPTIMIZER, torch.float32, after_step=lambda m, step: trained.append(prune(m, step)))
    model = trained[-1]
    directory.mkdir(parents=True)
    model.peft_config["default"].base_model_name_or_path = "tiny-llama"
    save(model, directory / "adapter")
    _store(directory, shows, batch)


def write_adalora_cases(root):
    """Writes every case below `root`; base models are those of the llama cases beside it."""
    for index, (name, (shows, settings)) in enumerate(CASES.items()):
        directory = root / name
        directory.mkdir(parents=True)
        model = _fresh(directory, 2600 + index, settings)
        perturb(model, 2610 + index)
        save(model, directory / "adapter")
        _store(directory, shows, make_batch(2620 + index, padding="right" if index % 2 else None))

    pruning = root / "pruning"
    pruning.mkdir()
    model = _fresh(pruning, 2630, PRUNED)
    perturb(model, 2631, 0.05, 0.05)
    save(model, pruning / "adapter")
    batches = [make_batch(2640), make_batch(2641, padding="right")]
    _write_trajectory(pruning, f"{STEPS} AdamW steps with update_and_allocate after each", batches)
    _write_pruned(root / "pruned", "an adapter with the ranks that pruning left", batches, make_batch(2650))
