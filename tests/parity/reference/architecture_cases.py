"""Architectures beside LLaMA: one small random checkpoint each, as Transformers writes it, with what it
computes; and for mixtures of experts, what the router, the balancing loss and LoRAs on experts do.
"""

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import save_file
from torch import nn

from .adapters import by_file_key, perturb, save
from .architecture_models import by_file_name, evaluated, greedy, load, make
from .evaluate import evaluate
from .precision import relative_difference
from .store import write_case, write_json
from .tiny_model import make_batch

EXPERTS = {"intermediate_size": 20, "num_local_experts": 5, "num_experts_per_tok": 2, "tie_word_embeddings": False}
QWEN2_MOE = {
    "moe_intermediate_size": 12,
    "shared_expert_intermediate_size": 20,
    "num_experts": 6,
    "num_experts_per_tok": 3,
    "tie_word_embeddings": False,
}

# name: (what it shows, model type, settings, batch settings)
MODELS = {
    "qwen2": ("biases on queries, keys and values alone", "qwen2", {}, {}),
    "qwen3": ("queries and keys normed head by head, heads of their own size", "qwen3", {"head_dim": 12}, {}),
    "mistral": ("no window", "mistral", {"sliding_window": None}, {"padding": "right"}),
    "mistral-window": ("a window of 5 positions, the sequence longer", "mistral", {"sliding_window": 5}, {"length": 20}),
    "mixtral": ("2 of 5 experts, weights that add up to 1", "mixtral", EXPERTS, {}),
    "qwen2-moe": ("3 of 6 experts, weights as they are, beside a shared one", "qwen2_moe", QWEN2_MOE, {}),
    "qwen2-moe-mixed": (
        "a dense layer before one with experts, weights that add up to 1, no biases",
        "qwen2_moe",
        {**QWEN2_MOE, "mlp_only_layers": [0], "norm_topk_prob": True, "qkv_bias": False},
        {},
    ),
}

# name: (what it shows, whose weights, batch settings)
BATCHES = {
    "mistral-window-right-padding": ("a window, a row padded on the right", "mistral-window", {"padding": "right", "length": 18}),
    "mistral-window-left-padding": ("a window, a row padded on the left", "mistral-window", {"padding": "left", "length": 18}),
    "qwen2-right-padding": ("a row padded on the right", "qwen2", {"padding": "right"}),
    "qwen3-right-padding": ("a row padded on the right", "qwen3", {"padding": "right"}),
    "mixtral-right-padding": ("experts, a row padded on the right", "mixtral", {"padding": "right"}),
    "mixtral-left-padding": ("experts, a row padded on the left", "mixtral", {"padding": "left"}),
    "qwen2-moe-right-padding": ("experts, a row padded on the right", "qwen2-moe", {"padding": "right"}),
}

# name: (what it shows, whose weights, changes of the config, batch settings): the balancing loss
BALANCED = {
    "mixtral-balanced": (
        "the balancing loss, a row padded on the right",
        "mixtral",
        {"output_router_logits": True, "router_aux_loss_coef": 0.5},
        {"padding": "right"},
    ),
    "qwen2-moe-balanced": (
        "the balancing loss of the layers that have experts",
        "qwen2-moe-mixed",
        {"output_router_logits": True, "router_aux_loss_coef": 0.3},
        {},
    ),
}

# name: (what it shows, whose weights, our options, which of the file's tensors are trained)
PARTS = {
    "mixtral-routers": (
        "routers alone are trained",
        "mixtral-balanced",
        {"name": "freeze", "parts": "routers"},
        lambda name: name.endswith(".gate.weight"),
    ),
    "mixtral-experts": (
        "experts alone are trained",
        "mixtral",
        {"name": "freeze", "parts": "experts"},
        lambda name: ".experts." in name,
    ),
    "qwen2-moe-experts": (
        "experts alone are trained, of the last layer",
        "qwen2-moe",
        {"name": "freeze", "parts": "experts", "blocks": 1},
        lambda name: ".layers.1.mlp.experts." in name,
    ),
}

# name: (what it shows, whose weights, LoRA settings, batch settings)
LORAS = {
    "qwen2-lora": ("LoRA beside biases", "qwen2", {"r": 4, "target_modules": ["q_proj", "o_proj", "down_proj"]}, {}),
    "qwen3-lora": ("LoRA in front of the heads' norms", "qwen3", {"r": 4, "target_modules": ["q_proj", "k_proj"]}, {}),
    "mistral-lora": ("LoRA with a window", "mistral-window", {"r": 4, "target_modules": "all-linear"}, {"length": 16}),
    "mixtral-lora": ("LoRA in attention", "mixtral", {"r": 4, "target_modules": ["q_proj", "v_proj"]}, {"padding": "right"}),
    "qwen2-moe-lora": (
        "LoRA in attention and on the shared expert's gate",
        "qwen2-moe",
        {"r": 4, "target_modules": ["k_proj", "shared_expert_gate"]},
        {},
    ),
}


class WithoutBalance(nn.Module):
    """A model whose loss is the objective's alone, though its config asks for the balancing loss."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, **inputs):
        return self.inner(**inputs, output_router_logits=False)


class ExpertLora(nn.Module):
    """Mixtral with s * B A added to matrices of its experts, which are fused in memory."""

    def __init__(self, inner, rank, alpha, generator):
        super().__init__()
        self.inner, self.scaling = inner, alpha / rank
        self.factors = nn.ParameterDict()
        for parameter in inner.parameters():
            parameter.requires_grad_(False)
        shapes = by_file_name("mixtral", dict(inner.named_parameters()))
        for name in sorted(shapes):
            if ".experts." in name:
                out, width = shapes[name].shape
                path = name.removesuffix(".weight")
                for matrix, shape in {"A": (rank, width), "B": (out, rank)}.items():
                    key = f"{path}.lora_{matrix}.weight"
                    noise = 0.3 * torch.randn(shape, generator=generator)
                    self.factors[key.replace(".", "/")] = nn.Parameter(noise)

    def by_key(self, tensors):
        return {f"base_model.model.{name.removeprefix('factors.').replace('/', '.')}": value for name, value in tensors.items()}

    def _delta(self, path):
        a, b = (self.factors[f"{path}.lora_{matrix}.weight".replace(".", "/")] for matrix in "AB")
        return self.scaling * b @ a

    def forward(self, **inputs):
        changed = {}
        for name, value in self.inner.named_parameters():
            path = name.replace(".mlp.", ".block_sparse_moe.").rpartition(".")[0]
            each = range(value.shape[0])
            if name.endswith(".experts.gate_up_proj"):
                deltas = [torch.cat([self._delta(f"{path}.{i}.{part}") for part in ("w1", "w3")]) for i in each]
            elif name.endswith(".experts.down_proj"):
                deltas = [self._delta(f"{path}.{i}.w2") for i in each]
            else:
                continue
            changed[name] = value + torch.stack(deltas)
        return torch.func.functional_call(self.inner, changed, kwargs=inputs)


def _write_expert_lora(root, model_path, batch):
    rank, alpha = 2, 3
    directory = root / "mixtral-expert-lora"
    (directory / "adapter").mkdir(parents=True)
    model = load(directory / model_path)
    lora = ExpertLora(model, rank, alpha, torch.Generator().manual_seed(5200)).eval()
    results = evaluate(lora, batch)
    results["gradients"] = lora.by_key(results["gradients"])
    factors = {name: value.detach().clone() for name, value in lora.by_key(dict(lora.factors.named_parameters())).items()}
    save_file(factors, directory / "adapter" / "adapter_model.safetensors")
    config = {
        "base_model_name_or_path": "tiny-mixtral",
        "bias": "none",
        "lora_alpha": alpha,
        "peft_type": "LORA",
        "r": rank,
        "target_modules": ["w1", "w2", "w3"],
        "task_type": "CAUSAL_LM",
    }
    write_json(directory / "adapter" / "adapter_config.json", config)
    peft = PeftModel.from_pretrained(load(directory / model_path), directory / "adapter").eval()
    logits = peft(input_ids=batch["inputIds"]).logits
    difference = relative_difference(logits.detach(), results["logits"])
    assert difference < 1e-4, f"PEFT reads the adapter otherwise: {difference}"
    shows = "LoRA on every expert, as PEFT saved it when experts were modules, and as it still reads it"
    write_case(directory, shows, results, [batch], model=model_path, adapter="adapter")


def write_architecture_cases(root):
    """Writes every case below `root`, each in a folder of its own."""
    types = {}
    for index, (name, (shows, model_type, settings, batch_settings)) in enumerate(MODELS.items()):
        types[name] = model_type
        directory = root / name
        make(5000 + index, model_type, settings).save_pretrained(directory / "model")
        model = load(directory / "model")
        batch = make_batch(5020 + index, **batch_settings)
        write_case(
            directory,
            shows,
            evaluated(model, batch, model_type),
            [batch],
            model="model",
            greedy=greedy(model, 5040 + 10 * index),
        )

    keys_only = {"name": "freeze", "weights": ["k_proj"]}
    for index, (name, (shows, base, batch_settings)) in enumerate(BATCHES.items()):
        directory, model_path = root / name, f"../{base}/model"
        directory.mkdir()
        batch = make_batch(5120 + index, **batch_settings)
        results = evaluated(load(directory / model_path), batch, types[base], lambda key: ".k_proj." in key)
        write_case(directory, shows, results, [batch], model=model_path, method=keys_only)

    for index, (name, (shows, base, changes, batch_settings)) in enumerate(BALANCED.items()):
        types[name] = types[base]
        directory = root / name
        model = load(root / base / "model")
        for key, value in changes.items():
            setattr(model.config, key, value)
        model.router_aux_loss_coef = model.config.router_aux_loss_coef
        model.save_pretrained(directory / "model")
        model = load(directory / "model")
        batch = make_batch(5140 + index, **batch_settings)
        results = evaluated(model, batch, types[base])
        total = results["loss"]
        results["loss"] = evaluate(WithoutBalance(model), batch)["loss"]
        assert abs(total - results["loss"]) > 0.1
        write_case(directory, shows, results, [batch], model="model", methodLoss=total - results["loss"])

    for index, (name, (shows, base, method, trained)) in enumerate(PARTS.items()):
        directory, model_path = root / name, f"../{base}/model"
        directory.mkdir()
        model = load(directory / model_path)
        batch = make_batch(5160 + index, padding="right")
        results = evaluated(model, batch, types[base], trained)
        facts = {}
        if base in BALANCED:
            total = results["loss"]
            results["loss"] = evaluate(WithoutBalance(model), batch)["loss"]
            facts["methodLoss"] = total - results["loss"]
        write_case(directory, shows, results, [batch], model=model_path, method=method, **facts)

    for index, (name, (shows, base, settings, batch_settings)) in enumerate(LORAS.items()):
        directory, model_path = root / name, f"../{base}/model"
        directory.mkdir()
        torch.manual_seed(5180 + index)
        model = get_peft_model(load(directory / model_path), LoraConfig(task_type="CAUSAL_LM", **settings))
        model.peft_config["default"].base_model_name_or_path = f"tiny-{types[base]}"
        perturb(model, 5190 + index)
        save(model, directory / "adapter")
        model = PeftModel.from_pretrained(load(directory / model_path), directory / "adapter", is_trainable=True)
        batch = make_batch(5200 + index, **batch_settings)
        results = evaluate(model.eval(), batch)
        results["gradients"] = by_file_key(model, results["gradients"])
        write_case(directory, shows, results, [batch], model=model_path, adapter="adapter")

    _write_expert_lora(root, "../mixtral/model", make_batch(5210))
