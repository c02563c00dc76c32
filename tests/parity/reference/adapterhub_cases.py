"""AdapterHub's methods: adapters as its library `adapters` writes them, and what they do to a model.

The base's attention is the eager one. Under scaled-dot-product attention `adapters` 1.3 hides prefixes
from rows that have a mask, and aligns them wrongly with those that have none.

Prefixes and norms in front cannot be stored as safetensors by the library, because two modules name the same
tensors. Here these are stored once; the library loads that.
"""

import copy
import json
from functools import partial

import adapters
import torch
from adapters import AdapterConfig, BnConfig, ConfigUnion, LoRAConfig, PrefixTuningConfig, SeqBnConfig, UniPELTConfig
from adapters.composition import Fuse
from adapters.loading import AdapterLoader
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

from .evaluate import evaluate, train, trajectory_difference
from .store import write_case
from .tiny_model import make_batch

BASE = "../../llama/base/model"
NAME = "task"
# Keys and values of a layer of the base: 2 heads of 8 each.
LAYER_WIDTH = 32
FLAT_LENGTH = 3
PREFIX = {"prefix_length": 3, "bottleneck_size": 6}


def _unipelt():
    return UniPELTConfig(
        prefix_tuning=PrefixTuningConfig(**PREFIX), adapter=SeqBnConfig(reduction_factor=8), lora=LoRAConfig(r=2, alpha=2)
    )


# name: (what it shows, configuration, batch settings)
CASES = {
    "seq-bn": ("one adapter a layer, behind the feed-forward (Pfeiffer)", AdapterConfig.load("seq_bn", reduction_factor=8), {}),
    "double-seq-bn": (
        "adapters behind attention and feed-forward (Houlsby), a row padded on the right",
        AdapterConfig.load("double_seq_bn", reduction_factor=8),
        {"padding": "right"},
    ),
    "par-bn": ("beside the feed-forward, scaled by 4 (He)", AdapterConfig.load("par_bn", reduction_factor=4), {}),
    "scaled-par-bn": ("beside the feed-forward, with a learned scale", AdapterConfig.load("scaled_par_bn", reduction_factor=4), {}),
    "parallel-twice": (
        "beside both halves, and the residual stream added once more",
        BnConfig(mh_adapter=True, output_adapter=True, reduction_factor=8, non_linearity="tanh", is_parallel=True),
        {},
    ),
    "adapter-plus": (
        "the residual around the adapter takes the stream's place; channel scale, Houlsby's start",
        AdapterConfig.load("seq_bn", reduction_factor=8, non_linearity="gelu", original_ln_after=False, residual_before_ln=False,
                    scaling="channel", init_weights="houlsby"),
        {},
    ),
    "norms": (
        "layer norms in front of and behind the adapter",
        AdapterConfig.load("seq_bn", reduction_factor=8, ln_before=True, ln_after=True, non_linearity="silu"),
        {},
    ),
    "norm-behind-residual": (
        "the norm behind the adapter's residual",
        AdapterConfig.load("double_seq_bn", reduction_factor=8, ln_after=True, adapter_residual_before_ln=True,
                    non_linearity="leakyrelu"),
        {},
    ),
    "by-layer": (
        "a reduction factor of its own for a layer, the first layer left out (AdapterDrop)",
        AdapterConfig.load("double_seq_bn", reduction_factor={"1": 16, "default": 8}, leave_out=[0]),
        {},
    ),
    "compacter": ("hypercomplex products, one rule for all layers", AdapterConfig.load("compacter", reduction_factor=4), {}),
    "compacter-own-rules": (
        "a factorised rule for each layer, whole weights, no bias",
        AdapterConfig.load("compacter++", reduction_factor=4, phm_dim=2, shared_phm_rule=False, factorized_phm_rule=True,
                    factorized_phm_W=False, phm_bias=False),
        {},
    ),
    "compacter-shared-weights": (
        "weights that all layers share",
        AdapterConfig.load("compacter", reduction_factor=4, phm_dim=2, phm_rank=2, shared_W_phm=True),
        {},
    ),
    "invertible": ("a coupling block behind the embedding", AdapterConfig.load("seq_bn_inv", reduction_factor=8), {}),
    "invertible-output": (
        "the coupling block undone in front of the output matrix, as the library does for plugged-in models",
        AdapterConfig.load("double_seq_bn_inv", reduction_factor=8, inv_adapter_reduction_factor=4),
        {},
    ),
    "prefix": ("a prefix alone, through its MLP", PrefixTuningConfig(**PREFIX), {}),
    "prefix-flat": (
        "a prefix trained directly, in the second layer alone",
        PrefixTuningConfig(prefix_length=FLAT_LENGTH, flat=True, leave_out=[0]),
        {"padding": "right"},
    ),
    "lora": (
        "LoRA on every place that there is",
        LoRAConfig(r=2, alpha=3, attn_matrices=["q", "k", "v"], intermediate_lora=True, output_lora=True),
        {},
    ),
    "mam": (
        "mix and match: a prefix and adapters beside the feed-forward",
        ConfigUnion(PrefixTuningConfig(**PREFIX), AdapterConfig.load("par_bn", reduction_factor=8)),
        {},
    ),
    "unipelt": ("prefix, adapter and LoRA, each with its gate", _unipelt(), {}),
    "unipelt-padded": ("gates average over padding as well", _unipelt(), {"padding": "right"}),
    "gates": (
        "two gates for the prefix, gated parallel adapters with a learned scale",
        ConfigUnion(
            PrefixTuningConfig(**PREFIX, use_gating=True, shared_gating=False),
            AdapterConfig.load("scaled_par_bn", reduction_factor=8, use_gating=True),
        ),
        {},
    ),
    "invertible-positions": (
        "GPT-2: the coupling block is behind the positions that are added to tokens",
        AdapterConfig.load("seq_bn_inv", reduction_factor=8),
        {"padding": "right"},
    ),
}

# Of those that are not on BASE.
OTHER_BASES = {"invertible-positions": "../../gpt/gpt2/model"}

OPTIMIZER = {"learningRate": 5e-3, "weightDecay": 0.01, "betas": [0.9, 0.999], "eps": 1e-8, "maxGradNorm": 1.0}
STEPS = 10

# name: (what it shows, case whose configuration it shares, batches)
TRAJECTORIES = {
    "trajectory-double-seq-bn": ("10 AdamW steps, two batches in turn", "double-seq-bn", [{}, {"padding": "right"}]),
    "trajectory-compacter": ("10 AdamW steps with shared rules", "compacter", [{}]),
    "trajectory-unipelt": ("10 AdamW steps with gates", "unipelt", [{}, {"padding": "right"}]),
}

FUSIONS = {
    "fusion-dynamic": ("attention over three trained adapters, with a value matrix", "dynamic", "seq_bn"),
    "fusion-static": ("attention over three trained adapters of both places, without values", "static", "double_seq_bn"),
}
FUSED = ["alpha", "beta", "gamma"]


def _undo_coupling(model, _, args):
    return (model.invertible_adapters_forward(args[0], rev=True),)


def _model(base, inverts_output=False):
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, attn_implementation="eager")
    model.config.use_cache = False
    adapters.init(model)
    if inverts_output:
        model.lm_head.register_forward_pre_hook(partial(_undo_coupling, model.model))
    return model


def _perturb(model, seed, noise=0.3):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, parameter in sorted(model.named_parameters()):
            if parameter.requires_grad:
                parameter.add_(noise * torch.randn(parameter.shape, generator=generator))


def _by_file_key(tensors):
    """Each tensor once: the pool's own names for what layers repeat, a norm's own name for the adapter's step."""
    renamed = {}
    for name, tensor in tensors.items():
        _, found, tail = name.partition(".self_attn.prefix_tuning.pool.")
        renamed[f"model.prefix_tuning.{tail}" if found else name] = tensor.contiguous()
    repeated = [name for name in renamed if name.replace(".adapter_norm_before.", ".adapter_down.0.") != name]
    for name in repeated:
        renamed.pop(name.replace(".adapter_norm_before.", ".adapter_down.0."), None)
    return renamed


def _in_pieces(tensors):
    """What the file has in one tensor for all layers, cut into the layers' own, as tunesmith trains it."""
    pieces = {}
    for name, tensor in tensors.items():
        if not name.endswith((".control_trans", ".control_trans.2.weight", ".control_trans.2.bias")):
            pieces[name] = tensor
            continue
        if name.endswith(".control_trans"):
            layers = tensor.numel() // (FLAT_LENGTH * LAYER_WIDTH)
            parts = tensor.view(FLAT_LENGTH, layers, LAYER_WIDTH).unbind(1)
        else:
            parts = tensor.split(LAYER_WIDTH)
        pieces.update({f"{name}.{layer}": part for layer, part in enumerate(parts)})
    return pieces


def _write_config(path, config):
    name = f"tiny-{config.get('model_type', 'llama')}"
    path.write_text(json.dumps({**config, "model_name": name}, indent=2, sort_keys=True))


def _save(model, directory, **extra):
    """As the library writes it, but for tensors stored once and the path of the base model."""
    tensors, config = AdapterLoader(model).save_to_state_dict(NAME)
    directory.mkdir(parents=True)
    save_file(_by_file_key(tensors), directory / "adapter.safetensors")
    _write_config(directory / "adapter_config.json", {**config, **extra})


def _fresh(base, seed, config, inverts_output=False):
    torch.manual_seed(seed)
    model = _model(base, inverts_output)
    model.add_adapter(NAME, config=config)
    model.train_adapter(NAME)
    return model.eval()


def _load(base, adapter, inverts_output=False):
    model = _model(base, inverts_output)
    model.load_adapter(str(adapter), set_active=True, with_head=False, use_safetensors=True)
    model.train_adapter(NAME)
    return model.eval()


def _checked(reloaded, model):
    """The model made of what was stored, which must be all that there is."""
    expected = dict(model.named_parameters())
    for name, parameter in reloaded.named_parameters():
        assert torch.equal(parameter, expected[name]), name
        assert parameter.requires_grad == expected[name].requires_grad, name
    return reloaded


def _with_regularization(model, results):
    """Adds the gradient of the fusions' own loss, which the library's trainer has; returns that loss."""
    exact = copy.deepcopy(model).double()
    exact.zero_grad(set_to_none=True)
    loss = exact.get_fusion_regularization_loss()
    if loss is None:
        return {}
    loss.backward()
    for name, parameter in exact.named_parameters():
        if parameter.grad is not None:
            results["gradients"][name] += parameter.grad
    return {"methodLoss": loss.item()}


def _store(directory, shows, model, batch, base=BASE):
    # A fusion's scores gain the same for all adapters by the bias of their keys: it has no gradient.
    results = evaluate(model, batch, zero_below=1e-12)
    facts = _with_regularization(model, results)
    results["gradients"] = _in_pieces(_by_file_key(results["gradients"]))
    write_case(directory, shows, results, [batch], model=base, adapter="adapter", **facts)


def _write_trajectory(directory, shows, model, batches):
    losses, norms, final = train(model, batches, STEPS, OPTIMIZER)
    write_case(
        directory,
        shows,
        None,
        batches,
        {f"final/{key}": value for key, value in _in_pieces(_by_file_key(final)).items()},
        model=BASE,
        adapter="adapter",
        optimizer=OPTIMIZER,
        losses=losses,
        gradientNorms=norms,
        float32Difference=trajectory_difference(model, batches, OPTIMIZER, losses, norms, final),
    )


def _write_fusion(directory, index, shows, kind, preset):
    base, adapter, setup = directory / BASE, directory / "adapter", Fuse(*FUSED)
    torch.manual_seed(3900 + index)
    model = _model(base)
    for position, name in enumerate(FUSED):
        model.add_adapter(name, config=AdapterConfig.load(preset, reduction_factor=16))
        model.train_adapter(name)
        _perturb(model, 3910 + 3 * index + position)
    model.add_adapter_fusion(setup, kind)
    model.train_adapter_fusion(setup)
    _perturb(model, 3930 + index, 0.2)
    model.eval()
    model.save_adapter_setup(str(adapter), setup, use_safetensors=True)
    for head in adapter.rglob("*head*"):
        head.unlink()
    for file in [*adapter.rglob("adapter_config.json"), *adapter.rglob("adapter_fusion_config.json")]:
        _write_config(file, json.loads(file.read_text()))
    again = _model(base)
    again.load_adapter_setup(str(adapter), set_active=True, use_safetensors=True)
    again.train_adapter_fusion(setup)
    _store(directory, shows, _checked(again.eval(), model), make_batch(3940 + index))


def write_adapterhub_cases(root):
    """Writes every case below `root`; base models are those of the llama cases beside it."""
    for index, (name, (shows, config, batch_settings)) in enumerate(CASES.items()):
        directory = root / name
        directory.mkdir(parents=True)
        inverts = name == "invertible-output"
        base = OTHER_BASES.get(name, BASE)
        model = _fresh(directory / base, 3000 + index, config, inverts)
        _perturb(model, 3100 + index)
        _save(model, directory / "adapter", **({"inverts_output": True} if inverts else {}))
        reloaded = _checked(_load(directory / base, directory / "adapter", inverts), model)
        _store(directory, shows, reloaded, make_batch(3200 + index, **batch_settings), base)

    for index, (name, (shows, config_of, batch_settings)) in enumerate(TRAJECTORIES.items()):
        directory = root / name
        directory.mkdir(parents=True)
        model = _fresh(directory / BASE, 3300 + index, CASES[config_of][1])
        _perturb(model, 3400 + index, 0.1)
        _save(model, directory / "adapter")
        batches = [make_batch(3500 + 10 * index + row, **item) for row, item in enumerate(batch_settings)]
        _write_trajectory(directory, shows, _load(directory / BASE, directory / "adapter"), batches)

    for index, (name, (shows, kind, preset)) in enumerate(FUSIONS.items()):
        directory = root / name
        directory.mkdir(parents=True)
        _write_fusion(directory, index, shows, kind, preset)
