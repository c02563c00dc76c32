"""Mixtures of LoRA experts, written down plainly from the papers' formulas: MixLoRA (arXiv 2404.15159,
sections 3.2 and 3.3; its load-balancing loss is Mixtral's, by transformers) and LoRAMoE (arXiv 2312.09979,
section 3). Adapter files have the keys of the authors' libraries.
"""

import json

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional
from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func

from .adapters import OPTIMIZER
from .evaluate import evaluate, train, trajectory_difference
from .store import write_case
from .tiny_model import load_model, make_batch

STEPS = 10
FEED_FORWARD = ("gate_proj", "up_proj", "down_proj")


class Lora(nn.Module):
    """s * B A x"""

    def __init__(self, linear, rank, alpha):
        super().__init__()
        self.A = nn.Parameter(torch.zeros(rank, linear.in_features))
        self.B = nn.Parameter(torch.zeros(linear.out_features, rank))
        self.scaling = alpha / rank

    def forward(self, x):
        return self.scaling * (x @ self.A.T @ self.B.T)


class LoraLinear(nn.Module):
    def __init__(self, linear, lora):
        super().__init__()
        self.linear, self.lora = linear, lora

    def forward(self, x):
        return self.linear(x) + self.lora(x)


class SparseFeedForward(nn.Module):
    """Every expert is a whole feed-forward of the shared weights with LoRAs of its own."""

    def __init__(self, mlp, settings):
        super().__init__()
        self.mlp, self.top_k = mlp, settings["top_k"]
        self.router = nn.Parameter(torch.zeros(settings["num_experts"], mlp.gate_proj.in_features))
        self.experts = nn.ModuleList(
            nn.ModuleDict(
                {
                    name: Lora(getattr(mlp, name), settings["r"], settings["lora_alpha"])
                    for name in FEED_FORWARD
                    if name in settings["target_modules"]
                }
            )
            for _ in range(settings["num_experts"])
        )

    def forward(self, x):
        self.routing = (x @ self.router.T).flatten(0, 1)
        probability, chosen = torch.softmax(x @ self.router.T, dim=-1).topk(self.top_k, dim=-1)
        share = probability / probability.sum(dim=-1, keepdim=True)
        output = torch.zeros_like(x)
        for index, expert in enumerate(self.experts):
            def product(name, value, expert=expert):
                base = getattr(self.mlp, name)(value)
                return base + expert[name](value) if name in expert else base

            inner = functional.silu(product("gate_proj", x)) * product("up_proj", x)
            weight = (share * (chosen == index)).sum(dim=-1, keepdim=True)
            output = output + weight * product("down_proj", inner)
        return output


class DenseLinear(nn.Module):
    """W x + sum of softmax(route x)_i * s * B_i A_i x"""

    def __init__(self, linear, settings):
        super().__init__()
        self.linear = linear
        self.route = nn.Parameter(torch.zeros(settings["lora_nums"], linear.in_features))
        self.experts = nn.ModuleList(
            Lora(linear, settings["r"], settings["lora_alpha"]) for _ in range(settings["lora_nums"])
        )

    def forward(self, x):
        self.routing = torch.softmax(x @ self.route.T, dim=-1)
        parts = [self.routing[..., i : i + 1] * expert(x) for i, expert in enumerate(self.experts)]
        return self.linear(x) + sum(parts)


def _mix_lora(model, settings):
    """Adds the experts to `model`; the file's keys by parameter."""
    keys = {}
    for index, layer in enumerate(model.model.layers):
        prefix = f"mixlora.layers.{index}"
        for name in settings["target_modules"]:
            if hasattr(layer.self_attn, name):
                linear = getattr(layer.self_attn, name)
                lora = Lora(linear, settings["r"], settings["lora_alpha"])
                setattr(layer.self_attn, name, LoraLinear(linear, lora))
                for matrix in "AB":
                    keys[getattr(lora, matrix)] = f"{prefix}.self_attn.{name}.lora_{matrix}.weight"
        layer.mlp = SparseFeedForward(layer.mlp, settings)
        keys[layer.mlp.router] = f"{prefix}.mlp.moe_gate.weight"
        for number, expert in enumerate(layer.mlp.experts):
            for name, lora in expert.items():
                for matrix in "AB":
                    keys[getattr(lora, matrix)] = f"{prefix}.mlp.{name}.experts.{number}.lora_{matrix}.weight"
    return keys


def _mix_lora_balance(model, real, settings):
    logits = tuple(layer.mlp.routing for layer in model.model.layers)
    loss = load_balancing_loss_func(logits, settings["num_experts"], settings["top_k"], real)
    return settings["router_aux_loss_coef"] * loss


def _lora_moe(model, settings):
    keys = {}
    for name, linear in list(model.named_modules()):
        if name.split(".")[-1] in settings["target_modules"]:
            dense = DenseLinear(linear, settings)
            parent, _, leaf = name.rpartition(".")
            setattr(model.get_submodule(parent), leaf, dense)
            prefix = f"base_model.model.{name}"
            keys[dense.route] = f"{prefix}.lora_route.weight"
            for number, lora in enumerate(dense.experts):
                for matrix in "AB":
                    keys[getattr(lora, matrix)] = f"{prefix}.lora_{matrix}{number}.weight"
    return keys


def _lora_moe_balance(model, real, settings):
    loss = 0
    for module in model.modules():
        if isinstance(module, DenseLinear):
            # The importance of each expert to each row; padding is nobody's.
            importance = (module.routing * real.unsqueeze(-1)).sum(dim=1).flatten()
            loss = loss + importance.var() / importance.mean() ** 2
    return settings["blc_weight"] * loss


MIX_LORA = {
    "base_model_name_or_path": "tiny-llama",
    "bias": "none",
    "lora_dropout": 0.0,
    "peft_type": "MIXLORA",
    "routing_strategy": "mixlora",
    "task_type": "CAUSAL_LM",
}
LORA_MOE = {
    "base_model_name_or_path": "tiny-llama",
    "bias": "none",
    "blc_alpha": 0.0,
    "enable_lora": None,
    "fan_in_fan_out": False,
    "inference_mode": True,
    "lora_dropout": 0.0,
    "merge_weights": False,
    "modules_to_save": None,
    "peft_type": "LORA",
    "task_type": "CAUSAL_LM",
}

# name: (what it shows, how it is built, its balancing loss, base model, configuration, batch settings)
CASES = {
    "mixlora": (
        "2 of 3 experts on all of the feed-forward, plain LoRA in attention, a row padded on the right",
        _mix_lora,
        _mix_lora_balance,
        "base",
        {**MIX_LORA, "r": 1, "lora_alpha": 2, "num_experts": 3, "top_k": 2, "router_aux_loss_coef": 0.5,
         "target_modules": ["v_proj", "gate_proj", "up_proj", "down_proj"]},
        {"padding": "right"},
    ),
    "mixlora-biases": (
        "the best of 3 experts on a part of the feed-forward, beside biases",
        _mix_lora,
        _mix_lora_balance,
        "biases",
        {**MIX_LORA, "r": 1, "lora_alpha": 3, "num_experts": 3, "top_k": 1, "router_aux_loss_coef": 0.1,
         "target_modules": ["up_proj", "k_proj"]},
        {},
    ),
    "loramoe": (
        "3 experts on two of the feed-forward's layers, a row padded on the right",
        _lora_moe,
        _lora_moe_balance,
        "base",
        {**LORA_MOE, "r": 2, "lora_alpha": 8, "lora_nums": 3, "blc_weight": 0.3,
         "target_modules": ["up_proj", "down_proj"]},
        {"padding": "right"},
    ),
}


class Balanced(nn.Module):
    """A model whose loss has the balancing loss in it."""

    def __init__(self, inner, balance, settings):
        super().__init__()
        self.inner, self.balance, self.settings, self.balanced = inner, balance, settings, True

    def forward(self, input_ids, labels, attention_mask=None):
        output = self.inner(input_ids=input_ids, labels=labels, attention_mask=attention_mask)
        real = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        if self.balanced:
            output.loss = output.loss + self.balance(self.inner, real, self.settings)
        for module in self.inner.modules():
            module.routing = None  # what was kept for the balance cannot be copied with the model
        return output


def _write(root, name, index):
    shows, build, balance, base_name, settings, batch_settings = CASES[name]
    base = f"../../llama/{base_name}/model"
    directory = root / name
    (directory / "adapter").mkdir(parents=True)
    model = load_model(directory / base)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    keys = build(model, settings)
    generator = torch.Generator().manual_seed(2700 + index)
    with torch.no_grad():
        for parameter in keys:
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    save_file({key: parameter.detach().clone() for parameter, key in keys.items()},
              directory / "adapter" / "adapter_model.safetensors")
    (directory / "adapter" / "adapter_config.json").write_text(json.dumps(settings, indent=2, sort_keys=True))

    whole = Balanced(model, balance, settings).eval()
    by_key = {name: keys[parameter] for name, parameter in whole.named_parameters() if parameter in keys}
    batch = make_batch(2710 + index, **batch_settings)
    results = evaluate(whole, batch)
    results["gradients"] = {by_key[name]: value for name, value in results["gradients"].items()}
    assert results["gradients"].keys() == set(keys.values())
    total = results["loss"]
    whole.balanced = False
    results["loss"] = evaluate(whole, batch)["loss"]
    whole.balanced = True
    write_case(directory, shows, results, [batch], model=base, adapter="adapter", methodLoss=total - results["loss"])

    if base_name != "base":
        return
    trained = root / f"{name}-trajectory"
    trained.mkdir()
    losses, norms, final = train(whole, [batch], STEPS, OPTIMIZER)
    write_case(
        trained,
        f"{STEPS} AdamW steps: {shows}",
        None,
        [batch],
        {f"final/{by_key[name]}": value for name, value in final.items()},
        model=base,
        adapter=f"../{name}/adapter",
        optimizer=OPTIMIZER,
        losses=losses,
        gradientNorms=norms,
        float32Difference=trajectory_difference(whole, [batch], OPTIMIZER, losses, norms, final),
    )


def write_moe_cases(root):
    """Writes every case below `root`; base models are those of the llama cases beside it."""
    for index, name in enumerate(CASES):
        _write(root, name, index)
