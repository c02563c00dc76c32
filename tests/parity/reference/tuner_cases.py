"""Cases of PEFT's methods beside LoRA that change linear modules or norms, and of freeze tuning.

Each method has one or more adapters, moved away from where they start, with what PEFT computes from
the stored files; the first of a method is trained for ten steps as well.
"""

import contextlib
import types
from unittest import mock

import torch
from peft import (
    BeftConfig,
    BOFTConfig,
    FourierFTConfig,
    HRAConfig,
    IA3Config,
    LNTuningConfig,
    LoHaConfig,
    LoKrConfig,
    MissConfig,
    OFTConfig,
    VeraConfig,
)
from peft.tuners.fourierft.layer import FourierFTLinear

from .adapters import OPTIMIZER, fresh, perturb, save, store, write_trajectory
from .evaluate import evaluate, train, trajectory_difference
from .store import write_case
from .tiny_model import load_model, make_batch

BASE, BIASES = "base", "biases"
STEPS = 10
ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]

# name: (what it shows, base model among the llama cases, configuration, noise on what is trained)
CASES = {
    "ia3": ("keys, values and the feed-forward's input scaled, PEFT's default", BASE, IA3Config(), 0.2),
    "ia3-biases": (
        "outputs are scaled with their bias, inputs before it; names by regular expression",
        BIASES,
        IA3Config(target_modules=r".*\.(q_proj|o_proj|up_proj)", feedforward_modules=r".*\.o_proj"),
        0.2,
    ),
    "ln-tuning": ("every norm", BASE, LNTuningConfig(), 0.1),
    "ln-tuning-some": ("one norm of each block", BASE, LNTuningConfig(target_modules=["input_layernorm"]), 0.1),
    "bitfit": (
        "an offset of every linear module's output (BEFT's file)",
        BASE,
        BeftConfig(target_modules=[*ATTENTION, "gate_proj", "up_proj", "down_proj"]),
        0.1,
    ),
    "vera": ("rank 8 on every attention module", BASE, VeraConfig(r=8, target_modules=ATTENTION), 0.3),
    "vera-from-seed": (
        "the shared matrices are drawn again, as the file has their seed alone",
        BIASES,
        VeraConfig(
            r=6,
            target_modules=["q_proj", "down_proj"],
            save_projection=False,
            projection_prng_key=1234,
            bias="vera_only",
        ),
        0.3,
    ),
    "bitfit-biases": ("offsets beside biases", BIASES, BeftConfig(target_modules=["v_proj", "down_proj"]), 0.1),
    "loha": (
        "rank 2 on two modules, another rank and alpha for one",
        BASE,
        LoHaConfig(r=2, alpha=6, target_modules=["q_proj", "down_proj"], rank_pattern={"q_proj": 3}),
        0.2,
    ),
    "loha-biases": (
        "a rank whose square is more than the weight's",
        BIASES,
        LoHaConfig(r=8, target_modules=["v_proj", "up_proj"], alpha_pattern={"v_proj": 3}, layers_to_transform=[1]),
        0.1,
    ),
    "lokr": (
        "sizes as near to the square root as they can be",
        BASE,
        LoKrConfig(r=8, alpha=16, target_modules=["q_proj", "k_proj", "down_proj"]),
        0.2,
    ),
    "lokr-low-rank": (
        "both factors are products of rank 1 and 2, the smaller sizes given",
        BIASES,
        LoKrConfig(r=2, target_modules=["v_proj", "gate_proj"], rank_pattern={"gate_proj": 1}, decompose_both=True,
                   decompose_factor=6),
        0.3,
    ),
    "oft": (
        "blocks of 8 inputs, or of 9 where 8 does not divide them; the series' default of five terms",
        BASE,
        OFTConfig(oft_block_size=8, target_modules=["q_proj", "v_proj", "down_proj"]),
        0.2,
    ),
    "oft-terms": (
        "six terms, one rotation for all blocks of a layer, two blocks",
        BIASES,
        OFTConfig(r=2, oft_block_size=0, target_modules=["k_proj", "up_proj"], block_share=True,
                  num_cayley_neumann_terms=6),
        0.1,
    ),
    "oft-three-terms": (
        "three terms, of which PEFT makes four",
        BASE,
        OFTConfig(oft_block_size=4, target_modules=["k_proj"], num_cayley_neumann_terms=3),
        0.2,
    ),
    "oft-exact": (
        "exact rotations, with the biases of the rotated layers",
        BIASES,
        OFTConfig(oft_block_size=8, target_modules=["o_proj", "gate_proj"], use_cayley_neumann=False, bias="oft_only"),
        0.3,
    ),
    "boft": ("one factor, PEFT's default", BASE, BOFTConfig(target_modules=["q_proj", "down_proj"]), 0.3),
    "boft-butterfly": (
        "three factors; a bias is not scaled",
        BIASES,
        BOFTConfig(boft_block_size=2, boft_n_butterfly_factor=3, target_modules=["v_proj", "o_proj", "up_proj"]),
        0.3,
    ),
    "boft-blocks": (
        "the number of blocks given, two factors",
        BASE,
        BOFTConfig(boft_block_size=0, boft_block_num=4, boft_n_butterfly_factor=2, target_modules=["k_proj"]),
        0.3,
    ),
    "hra": ("four reflections", BASE, HRAConfig(r=4, target_modules=["q_proj", "down_proj"]), 0.2),
    "hra-odd": ("three reflections, and biases", BIASES, HRAConfig(r=3, target_modules=["v_proj"], bias="hra_only"), 0.2),
    "miss": ("groups of 8, of which the last may be short", BASE, MissConfig(r=8, target_modules=["q_proj", "down_proj"]), 0.2),
    "miss-mini": (
        "four rows, shared among all outputs",
        BIASES,
        MissConfig(r=6, mini_r=4, init_weights="mini", target_modules=["k_proj", "up_proj"]),
        0.2,
    ),
    "fourierft": (
        "12 frequencies; their places follow from the seed",
        BASE,
        FourierFTConfig(n_frequency=12, scaling=40.0, target_modules=["q_proj", "down_proj"]),
        0.3,
    ),
    "fourierft-many": (
        "so many that the weight is made; another number for one layer",
        BIASES,
        FourierFTConfig(n_frequency=80, random_loc_seed=5, scaling=10.0, n_frequency_pattern={"v_proj": 30},
                        target_modules=["v_proj", "up_proj"], bias="fourierft_only"),
        0.3,
    ),
}

# name: (what it shows, tunesmith's options, which weights are trained)
FREEZE = {
    "freeze-last-block": (
        "all weights of the last block",
        {"name": "freeze", "blocks": 1},
        lambda name: ".layers.1." in name,
    ),
    "freeze-parts": (
        "the embedding, which the head shares, and the feed-forward of every block",
        {"name": "freeze", "weights": ["embed_tokens", "mlp"]},
        lambda name: "embed_tokens" in name or ".mlp." in name,
    ),
}


@contextlib.contextmanager
def _butterflies_without_cuda():
    """PEFT makes one factor of any number where its CUDA kernel is missing; this is what it computes."""
    layer = "peft.tuners.boft.layer"
    blocks = types.SimpleNamespace(apply=lambda batch: torch.stack([torch.block_diag(*factor) for factor in batch]))
    with mock.patch(f"{layer}.get_fbd_cuda", lambda: True), mock.patch(f"{layer}.FastBlockDiag", blocks):
        yield


@contextlib.contextmanager
def _spectra_in_their_type():
    """PEFT makes the spectrum's matrix of the default type; it has to follow a model in float64."""
    original = FourierFTLinear.get_delta_weight

    def delta_weight(self, adapter):
        default = torch.get_default_dtype()
        torch.set_default_dtype(self.fourierft_spectrum[adapter].dtype)
        try:
            return original(self, adapter)
        finally:
            torch.set_default_dtype(default)

    with mock.patch.object(FourierFTLinear, "get_delta_weight", delta_weight):
        yield


def _base(name):
    return f"../../llama/{name}/model"


def _write_freeze(directory, shows, method, is_trained, batch):
    base = _base(BASE)
    directory.mkdir(parents=True)
    model = load_model(directory / base)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(is_trained(name))
    losses, norms, final = train(model, [batch], STEPS, OPTIMIZER)
    write_case(
        directory.with_name(f"{directory.name}-trajectory"),
        shows,
        None,
        [batch],
        {f"final/{key}": value for key, value in final.items()},
        model=base,
        method=method,
        optimizer=OPTIMIZER,
        losses=losses,
        gradientNorms=norms,
        float32Difference=trajectory_difference(model, [batch], OPTIMIZER, losses, norms, final),
    )
    write_case(directory, shows, evaluate(model, batch), [batch], model=base, method=method)


def _write_adapter(root, index, name, shows, base, config, noise, is_trained):
    directory = root / name
    directory.mkdir(parents=True)
    config.task_type = "CAUSAL_LM"
    model = fresh(directory / base, 2000 + index, config)
    perturb(model, 2100 + index, noise, noise)
    save(model, directory / "adapter")
    store(directory, shows, base, "adapter", make_batch(2200 + index, padding="right" if index % 2 else None))
    if is_trained:
        trained = root / f"{name}-trajectory"
        trained.mkdir()
        adapter = f"../{name}/adapter"
        write_trajectory(trained, f"{STEPS} AdamW steps: {shows}", base, adapter, [make_batch(2300 + index)], STEPS)


def write_tuner_cases(root):
    """Writes every case below `root`; base models are those of the llama cases beside it."""
    seen = set()
    with _butterflies_without_cuda(), _spectra_in_their_type():
        for index, (name, (shows, base_name, config, noise)) in enumerate(CASES.items()):
            _write_adapter(root, index, name, shows, _base(base_name), config, noise, config.peft_type not in seen)
            seen.add(config.peft_type)
    for index, (name, (shows, method, is_trained)) in enumerate(FREEZE.items()):
        _write_freeze(root / name, shows, method, is_trained, make_batch(2400 + index))
