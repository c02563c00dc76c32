"""Small LLaMA models whose weights are large enough that every part of the arithmetic shows.

Transformers' own initialisation (standard deviation 0.02, unit norms, zero biases) would leave
attention nearly uniform and hide mistakes in the mask, the rotary embedding or a bias.
"""

import torch
from transformers import LlamaConfig, LlamaForCausalLM

BASE = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 36,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": True,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}

# One layer with wide heads: enough rotary frequencies for the ramps of llama3 and yarn to matter.
ROPE = {
    **BASE,
    "vocab_size": 71,
    "intermediate_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 128,
}


def randomise(model, seed, value):
    """Weights that depend on `seed`, names and shapes alone: `value` makes them of a name and normal numbers."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(value(name, torch.randn(parameter.shape, generator=generator)))
    return model.eval()


def llama_value(name, noise, norm_centre=1):
    """What a weight of LLaMA and its kin is."""
    if "norm" in name:
        return norm_centre + 0.2 * noise
    if name.endswith("bias"):
        return 0.3 * noise
    if "embed_tokens" in name or "lm_head" in name:
        return 0.5 * noise
    return noise * 1.5 / noise.shape[-1] ** 0.5


def make_model(seed, **settings):
    """A LLaMA with random weights."""
    return randomise(LlamaForCausalLM(LlamaConfig(**{**BASE, **settings})), seed, llama_value)


def load_model(directory):
    """The model as a user's checkpoint gives it, always computing in float32."""
    model = LlamaForCausalLM.from_pretrained(
        directory, dtype=torch.float32, attn_implementation="sdpa"
    )
    model.config.use_cache = False
    return model.eval()


def make_batch(seed, rows=2, length=12, prompt=4, vocabulary=71, padding=None):
    """Random tokens; labels are -100 on the first row's prompt and on padding.

    `padding` is None, "right" or "left": then the last row is `length // 3` tokens shorter. Its first
    real token is never a label: under left padding it would be predicted from a padded position,
    whose output no implementation defines.
    """
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, vocabulary, (rows, length), generator=generator)
    labels = ids.clone()
    labels[0, :prompt] = -100
    batch = {"inputIds": ids, "labels": labels}
    if padding is not None:
        mask = torch.ones_like(ids)
        gap = length // 3
        hidden = slice(length - gap, length) if padding == "right" else slice(0, gap)
        mask[-1, hidden] = 0
        ids[-1, hidden] = 0
        labels[-1, hidden] = -100
        if padding == "left":
            labels[-1, gap] = -100
        batch["attentionMask"] = mask
    return batch
