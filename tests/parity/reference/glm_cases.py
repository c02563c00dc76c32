"""GLM: `glm` and `glm4` as Transformers has them; ChatGLM's own format and GLM-130B, which Transformers has no
class for, by modules written down here from their descriptions: Zeng et al. 2022 (arXiv 2210.02414), Team GLM
2024 (arXiv 2406.12793), and what is public of their configurations and tensors. No weights of these two have
been run beside them.
"""

import json
from types import SimpleNamespace

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

from .adapters import by_file_key, perturb, save
from .evaluate import evaluate
from .gpt_cases import TOKENS, make_random, write_loras, write_models
from .store import write_case, write_json
from .tiny_model import make_batch

GLM = {
    **TOKENS,
    "hidden_size": 32,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 12,
    "max_position_embeddings": 64,
    "partial_rotary_factor": 0.5,
}
# name: (what it shows, model type, settings, batch settings)
MODELS = {
    "glm": ("half of each head rotated in pairs of neighbours, gate and up in one", "glm", {**GLM, "head_dim": 8}, {}),
    "glm4": (
        "norms around both halves, no biases, two thirds of each head rotated, a tied head",
        "glm4",
        {**GLM, "attention_bias": False, "partial_rotary_factor": 0.67, "tie_word_embeddings": True},
        {},
    ),
}
# name: (what it shows, whose weights, LoRA settings, batch settings)
LORAS = {
    "glm-lora": ("LoRA, a row padded on the right", "glm", {"r": 2, "target_modules": "all-linear"}, {"padding": "right"}),
    "glm4-lora": ("LoRA, a row padded on the left", "glm4", {"r": 2, "target_modules": "all-linear"}, {"padding": "left"}),
}


class RmsNorm(nn.Module):
    def __init__(self, width, epsilon):
        super().__init__()
        self.weight, self.epsilon = nn.Parameter(torch.ones(width)), epsilon

    def forward(self, x):
        return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.epsilon)


def rotations(positions, size, theta):
    """Cosines and sines [batch, 1, seq, size / 2]; frequencies in single precision, as all have them."""
    frequencies = 1.0 / (theta ** (torch.arange(0, size, 2, dtype=torch.float32) / size))
    angles = positions[:, None, :, None] * frequencies.to(torch.get_default_dtype())
    return angles


def rotate(x, angles, neighbours):
    """Rotates the first elements of each head, in pairs of neighbours or of both halves."""
    size = 2 * angles.shape[-1]
    turned, rest = x[..., :size], x[..., size:]
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    if neighbours:
        a, b = turned[..., 0::2], turned[..., 1::2]
        turned = torch.stack([a * cos - b * sin, b * cos + a * sin], dim=-1).flatten(-2)
    else:
        a, b = turned.chunk(2, dim=-1)
        turned = torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)
    return torch.cat([turned, rest], dim=-1)


class Attention(nn.Module):
    def __init__(self, width, heads, key_heads, size, grouped, neighbours, qkv_bias, bias):
        super().__init__()
        self.shape = (heads, key_heads, size)
        self.grouped, self.neighbours = grouped, neighbours
        self.query_key_value = nn.Linear(width, (heads + 2 * key_heads) * size, bias=qkv_bias)
        self.dense = nn.Linear(heads * size, width, bias=bias)

    def forward(self, x, angles, visible):
        heads, key_heads, size = self.shape
        batch, length, _ = x.shape
        fused = self.query_key_value(x)
        if self.grouped:
            parts = fused.split([heads * size, key_heads * size, key_heads * size], dim=-1)
            q, k, v = (part.view(batch, length, -1, size) for part in parts)
        else:
            q, k, v = fused.view(batch, length, heads, 3 * size).chunk(3, dim=-1)
        q, k, v = (part.transpose(1, 2) for part in (q, k, v))
        q, k = rotate(q, angles, self.neighbours), rotate(k, angles, self.neighbours)
        k, v = (part.repeat_interleave(heads // key_heads, dim=1) for part in (k, v))
        scores = (q @ k.transpose(-1, -2) / size**0.5).masked_fill(~visible, -1e30)
        return self.dense((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))


class Gated(nn.Module):
    def __init__(self, width, inner, bias, combine):
        super().__init__()
        self.dense_h_to_4h = nn.Linear(width, 2 * inner, bias=bias)
        self.dense_4h_to_h = nn.Linear(inner, width, bias=bias)
        self.combine = combine

    def forward(self, x):
        return self.dense_4h_to_h(self.combine(*self.dense_h_to_4h(x).chunk(2, dim=-1)))


class Causal(nn.Module):
    """What both have around their layers: who sees whom, and the loss."""

    def visible(self, ids, attention_mask, context_mask):
        length = ids.shape[1]
        seen = torch.ones(length, length, dtype=torch.bool).tril().expand(ids.shape[0], -1, -1)
        if context_mask is not None:
            context = context_mask.bool()
            seen = seen | (context[:, :, None] & context[:, None, :])
        if attention_mask is not None:
            # A padded query sees itself, so that it has something to see.
            seen = seen & attention_mask.bool()[:, None, :] | torch.eye(length, dtype=torch.bool)
        return seen[:, None]

    def forward(self, input_ids, attention_mask=None, labels=None, context_mask=None, position_ids=None):
        if position_ids is None:
            position_ids = torch.arange(input_ids.shape[1]).expand_as(input_ids)
        visible = self.visible(input_ids, attention_mask, context_mask)
        logits = self.run(input_ids, position_ids, visible)
        loss = None
        if labels is not None:
            loss = functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)
        return SimpleNamespace(loss=loss, logits=logits)


class ChatGlmLayer(nn.Module):
    def __init__(self, c):
        super().__init__()
        width, grouped = c["hidden_size"], c["multi_query_attention"]
        key_heads = c["multi_query_group_num"] if grouped else c["num_attention_heads"]
        self.input_layernorm = RmsNorm(width, c["layernorm_epsilon"])
        self.self_attention = Attention(
            width, c["num_attention_heads"], key_heads, c["kv_channels"], grouped, True,
            c["add_qkv_bias"] or c["add_bias_linear"], c["add_bias_linear"],
        )
        self.post_attention_layernorm = RmsNorm(width, c["layernorm_epsilon"])
        self.mlp = Gated(width, c["ffn_hidden_size"], c["add_bias_linear"], lambda gate, up: functional.silu(gate) * up)

    def forward(self, x, angles, visible):
        x = x + self.self_attention(self.input_layernorm(x), angles, visible)
        return x + self.mlp(self.post_attention_layernorm(x))


class ChatGlm(Causal):
    """ChatGLM2, ChatGLM3 and GLM-4-9B-chat; parameters have the names of their files."""

    def __init__(self, c):
        super().__init__()
        self.c = c
        width, vocabulary = c["hidden_size"], c["padded_vocab_size"]
        self.transformer = nn.Module()
        self.transformer.embedding = nn.Module()
        self.transformer.embedding.word_embeddings = nn.Embedding(vocabulary, width)
        self.transformer.encoder = nn.Module()
        self.transformer.encoder.layers = nn.ModuleList(ChatGlmLayer(c) for _ in range(c["num_layers"]))
        self.transformer.encoder.final_layernorm = RmsNorm(width, c["layernorm_epsilon"])
        self.transformer.output_layer = nn.Linear(width, vocabulary, bias=False)

    def run(self, ids, positions, visible):
        x = self.transformer.embedding.word_embeddings(ids)
        ratio, size = self.c["rope_ratio"], self.c["kv_channels"] // 2
        places = positions.to(x.dtype)
        is_second = "chatglm2" in self.c.get("_name_or_path", "")
        angles = rotations(places / ratio, size, 10000) if is_second else rotations(places, size, 10000 * ratio)
        for layer in self.transformer.encoder.layers:
            x = layer(x, angles, visible)
        return self.transformer.output_layer(self.transformer.encoder.final_layernorm(x))


class Glm130bLayer(nn.Module):
    def __init__(self, c):
        super().__init__()
        width, heads = c["hidden_size"], c["num_attention_heads"]
        self.alpha = (2 * c["num_layers"]) ** 0.5
        self.input_layernorm = nn.LayerNorm(width, eps=1e-5)
        self.attention = Attention(width, heads, heads, width // heads, False, False, True, True)
        self.post_attention_layernorm = nn.LayerNorm(width, eps=1e-5)
        self.mlp = Gated(width, c["inner_hidden_size"], True, lambda up, gate: up * functional.gelu(gate))

    def forward(self, x, angles, visible):
        normed = self.input_layernorm(x)
        normed = self.post_attention_layernorm(self.alpha * normed + self.attention(normed, angles, visible))
        return self.alpha * normed + self.mlp(normed)


class Glm130b(Causal):
    """GLM-130B; parameters have SwissArmyTransformer's names."""

    def __init__(self, c):
        super().__init__()
        self.c = c
        self.transformer = nn.Module()
        self.transformer.word_embeddings = nn.Embedding(c["vocab_size"], c["hidden_size"])
        self.transformer.layers = nn.ModuleList(Glm130bLayer(c) for _ in range(c["num_layers"]))
        self.transformer.final_layernorm = nn.LayerNorm(c["hidden_size"], eps=1e-5)

    def run(self, ids, positions, visible):
        x = self.transformer.word_embeddings(ids)
        angles = rotations(positions.to(x.dtype), self.c["hidden_size"] // self.c["num_attention_heads"], 10000)
        for layer in self.transformer.layers:
            x = layer(x, angles, visible)
        return self.transformer.final_layernorm(x) @ self.transformer.word_embeddings.weight.T


CHAT = {
    "model_type": "chatglm",
    "add_bias_linear": False,
    "add_qkv_bias": True,
    "apply_residual_connection_post_layernorm": False,
    "ffn_hidden_size": 24,
    "hidden_size": 32,
    "kv_channels": 8,
    "layernorm_epsilon": 1e-5,
    "multi_query_attention": True,
    "multi_query_group_num": 2,
    "num_attention_heads": 4,
    "num_layers": 2,
    "original_rope": True,
    "padded_vocab_size": 97,
    "post_layer_norm": True,
    "rmsnorm": True,
    "rope_ratio": 1,
    "seq_length": 64,
    "tie_word_embeddings": False,
}
G130 = {
    "model_type": "glm-130b",
    "hidden_size": 32,
    "inner_hidden_size": 24,
    "max_sequence_length": 64,
    "num_attention_heads": 4,
    "num_layers": 2,
    "vocab_size": 97,
    "mask_token_id": 93,
    "gmask_token_id": 94,
    "bos_token_id": 96,
    "eop_token_id": 95,
}
# name: (what it shows, class, configuration)
OWN = {
    "chatglm": ("groups of heads, biases on the fused product alone", ChatGlm, CHAT),
    "chatglm-biases": (
        "a key and a value for every head, biases everywhere, longer waves",
        ChatGlm,
        {
            **CHAT,
            "num_layers": 1,
            "multi_query_attention": False,
            "add_bias_linear": True,
            "rope_ratio": 50,
            "_name_or_path": "tiny-chatglm3",
        },
    ),
    "glm-130b": ("DeepNorm, a feed-forward gated by GELU", Glm130b, G130),
    "chatglm-interpolated": (
        "ChatGLM2's long contexts: positions between positions",
        ChatGlm,
        {**CHAT, "rope_ratio": 4, "_name_or_path": "tiny-chatglm2"},
    ),
}


def _load(directory):
    config = json.loads((directory / "config.json").read_text())
    model = {"chatglm": ChatGlm, "glm-130b": Glm130b}[config["model_type"]](config)
    tensors = load_file(directory / "model.safetensors")
    model.load_state_dict({name: value for name, value in tensors.items() if not name.endswith("inv_freq")})
    return model.eval()


class InContext(nn.Module):
    """A model that is told beside its tokens what `evaluate` does not pass on."""

    def __init__(self, inner, **told):
        super().__init__()
        self.inner, self.told = inner, told

    def forward(self, **inputs):
        return self.inner(**inputs, **self.told)


def _blank_in(prompt, mask, start):
    """The prompt with a blank in it and what starts to fill it, and where the answer stands: None, if it goes on."""
    place = prompt.shape[1] - 1 if mask == G130["gmask_token_id"] else prompt.shape[1] // 3
    prompt[0, place] = mask
    return torch.cat([prompt, torch.tensor([[start]])], dim=1), None if mask == G130["gmask_token_id"] else place


def _greedy(model, seed, fills_blanks):
    answers = []
    for length, mask in ((3, "gmask_token_id"), (7, "gmask_token_id"), (8, "mask_token_id"))[: 3 if fills_blanks else 2]:
        ids, told = make_batch(seed + length, rows=1, length=length)["inputIds"], {}
        if fills_blanks:
            ids, blank = _blank_in(ids, G130[mask], G130["bos_token_id"])
        prompt = ids
        for _ in range(16):
            if fills_blanks:
                places = torch.arange(ids.shape[1])[None]
                in_context = places < prompt.shape[1] - 1
                positions = places if blank is None else torch.where(in_context, places, blank)
                told = {"context_mask": in_context.long(), "position_ids": positions}
            with torch.no_grad():
                logits = model(ids, **told).logits
            ids = torch.cat([ids, logits[:, -1:].argmax(-1)], dim=1)
        answers.append({"prompt": prompt[0].tolist(), "tokens": ids[0, prompt.shape[1] :].tolist()})
    return answers


def _write_own(root, name, index):
    shows, make, config = OWN[name]
    directory = root / name
    (directory / "model").mkdir(parents=True)
    tensors = {key: value.detach().clone() for key, value in make_random(make(config), 5800 + index).state_dict().items()}
    if name == "chatglm":
        tensors["transformer.rotary_pos_emb.inv_freq"] = torch.ones(2)
    save_file(tensors, directory / "model" / "model.safetensors", metadata={"format": "pt"})
    write_json(directory / "model" / "config.json", config)
    model = _load(directory / "model")
    batch = make_batch(5820 + index)
    greedy = _greedy(model, 5840 + 10 * index, make is Glm130b)
    write_case(directory, shows, evaluate(model, batch), [batch], model="model", greedy=greedy)


def _write_own_lora(root, name, base, settings, padding, seed):
    directory, model_path = root / name, f"../{base}/model"
    directory.mkdir()
    torch.manual_seed(seed)
    peft = get_peft_model(_load(directory / model_path), LoraConfig(lora_alpha=6, **settings))
    peft.peft_config["default"].base_model_name_or_path = f"tiny-{base}"
    perturb(peft, seed + 1)
    save(peft, directory / "adapter")
    model = PeftModel.from_pretrained(_load(directory / model_path), directory / "adapter", is_trainable=True).eval()
    batch = make_batch(seed + 2, padding=padding)
    results = evaluate(model, batch)
    results["gradients"] = by_file_key(model, results["gradients"])
    write_case(directory, f"LoRA, a row padded on the {padding}", results, [batch], model=model_path, adapter="adapter")


def _write_in_context(root, name, shows, padding, seed):
    """A blank in each row: a context that sees all of itself, and the span behind it, all at the blank's place."""
    directory, model_path = root / name, "../glm-130b/model"
    directory.mkdir()
    batch = make_batch(seed, padding=padding)
    ids = batch["inputIds"]
    context, positions = torch.zeros_like(ids), torch.arange(ids.shape[1]).expand_as(ids).clone()
    start = ids.shape[1] // 3 if padding == "left" else 0
    for row, (first, length, blank) in enumerate(((0, 6, 2), (start, 5, 4))):
        context[row, first : first + length] = 1
        positions[row, first + length :] = first + blank
        batch["labels"][row, : first + length + 1] = -100
    told = {"context_mask": context, "position_ids": positions}
    results = evaluate(InContext(_load(directory / model_path), **told), batch)
    results["gradients"] = {key.removeprefix("inner."): value for key, value in results["gradients"].items()}
    stored = {**batch, "contextMask": context, "positionIds": positions}
    write_case(directory, shows, results, [stored], model=model_path)


def write_glm_cases(root):
    """Writes every case below `root`, each in a folder of its own."""
    write_models(root, MODELS, 5750)
    write_loras(root, LORAS, 5770)
    for index, name in enumerate(OWN):
        _write_own(root, name, index)
    _write_own_lora(root, "chatglm-lora", "chatglm", {"r": 2, "target_modules": ["query_key_value", "dense_h_to_4h"]}, "right", 5880)
    _write_own_lora(root, "chatglm-lora-left", "chatglm-biases", {"r": 2, "target_modules": ["query_key_value", "dense_4h_to_h"]}, "left", 5885)
    _write_own_lora(root, "glm-130b-lora", "glm-130b", {"r": 2, "target_modules": ["query_key_value", "dense_h_to_4h"]}, "left", 5890)
    _write_in_context(root, "glm-130b-blank", "contexts that see all of themselves, spans at the blank's place", None, 5895)
    _write_in_context(root, "glm-130b-blank-left", "the same, a row padded on the left", "left", 5896)
