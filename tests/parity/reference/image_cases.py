"""Models that look at images: small random checkpoints of Idefics3 and SmolVLM as Transformers writes them, what they
compute of images given as pixel values, and LoRAs beside and inside the encoder of images.
"""

import torch
from peft import AdaLoraConfig, LoraConfig, PeftModel, get_peft_model
from transformers import AutoConfig, AutoModelForImageTextToText

from .adalora_cases import label_loss
from .adapters import OPTIMIZER, by_file_key, perturb, save
from .evaluate import evaluate, train, trajectory_difference
from .store import pictures, write_case
from .tiny_model import BASE

IMAGE_TOKEN = 96
ROPE = {"rope_type": "default", "rope_theta": 10000.0}
VISION = {
    "hidden_size": 24,
    "intermediate_size": 20,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "image_size": 24,
    "patch_size": 4,
}
# Sides of the images that are shown, and the rows that each makes: 6 by 6 patches as in training, and 4 by 4.
ROWS = {24: 9, 16: 4}


def make(seed, model_type, tied):
    text = {**BASE, "model_type": "llama", "rope_parameters": ROPE, "tie_word_embeddings": tied}
    sections = {"text_config": text, "vision_config": VISION, "scale_factor": 2, "image_token_id": IMAGE_TOKEN}
    config = AutoConfig.for_model(model_type, **sections, tie_word_embeddings=tied, pad_token_id=0)
    model = AutoModelForImageTextToText.from_config(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if "norm" in name and name.endswith("weight"):
                parameter.copy_(1 + 0.2 * noise)
            elif name.endswith("bias"):
                parameter.copy_(0.3 * noise)
            elif "embed" in name and "patch" not in name or "lm_head" in name:
                parameter.copy_(0.5 * noise)
            else:
                parameter.copy_(noise * 1.5 / parameter[0].numel() ** 0.5)
    return model.eval()


def load(directory):
    model = AutoModelForImageTextToText.from_pretrained(directory, dtype=torch.float32, attn_implementation="sdpa")
    model.config.use_cache = False
    return model.eval()


def make_images(generator, counts, side):
    """[rows, images, 3, side, side], multiples of 1/16 below 1; zeros stand for images that a row does not have."""
    images = torch.randint(-15, 16, (len(counts), max(counts), 3, side, side), generator=generator) / 16
    for row, count in enumerate(counts):
        images[row, count:] = 0
    return images


def make_batch(seed, counts, side, length=24, padding=None):
    """As in `tiny_model`, with as many images in each row; their tokens stand together behind two others."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, IMAGE_TOKEN, (len(counts), length), generator=generator)
    gap = length // 4
    for row, count in enumerate(counts):
        start = 2 + (gap if padding == "left" and row == len(counts) - 1 else 0)
        for image in range(count):
            first = start + image * (ROWS[side] + 1)
            ids[row, first : first + ROWS[side]] = IMAGE_TOKEN
    labels = ids.clone()
    labels[ids == IMAGE_TOKEN] = -100
    batch = {"inputIds": ids, "labels": labels}
    if padding is not None:
        mask = torch.ones_like(ids)
        hidden = slice(length - gap, length) if padding == "right" else slice(0, gap)
        mask[-1, hidden] = 0
        ids[-1, hidden] = 0
        labels[-1, hidden] = -100
        if padding == "left":
            labels[-1, gap] = -100
        batch["attentionMask"] = mask
    return {**batch, "pixelValues": make_images(generator, counts, side)}


def make_texts(seed, rows=2, length=12):
    """A batch without images."""
    ids = torch.randint(3, IMAGE_TOKEN, (rows, length), generator=torch.Generator().manual_seed(seed))
    return {"inputIds": ids, "labels": ids.clone()}


def greedy(model, seed):
    """What follows prompts with one image and with two, token by token."""
    answers = []
    for counts, side, length in (([1], 24, 14), ([2], 16, 13)):
        batch = make_batch(seed + side, counts, side, length)
        prompt = batch["inputIds"]
        tokens = model.generate(
            input_ids=prompt,
            attention_mask=torch.ones_like(prompt),
            pixel_values=batch["pixelValues"],
            max_new_tokens=16,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=0,
        )
        told = {"prompt": prompt[0].tolist(), "pixelValues": pictures(batch["pixelValues"])}
        answers.append({**told, "tokens": tokens[0, length:].tolist()})
    return answers


# name: (what it shows, model type, whether the head is tied, images of each row, their side)
MODELS = {
    "idefics3": ("two images in a row, smaller than the encoder's", "idefics3", False, [2, 1], 16),
    "smolvlm": ("a tied head, images of the encoder's size", "smolvlm", True, [1, 1], 24),
}

# name: (what it shows, whose weights, modules, padding, images of each row, their side)
TEXT = r"model\.text_model\..*\.(q_proj|k_proj|down_proj)"
SEEING = ["out_proj", "fc1", "proj", "v_proj"]
LORAS = {
    "idefics3-lora-text": ("LoRA beside the encoder, a row padded on the right", "idefics3", TEXT, "right", [2, 1], 16),
    "idefics3-lora": ("LoRA in encoder, connector and decoder, a row padded on the left", "idefics3", SEEING, "left", [1, 1], 16),
    "idefics3-lora-several": ("LoRA on queries and connector, rows of two images, of none and of one", "idefics3", ["q_proj", "proj"], "right", [2, 0, 1], 16),
    "smolvlm-lora": ("LoRA on every linear module", "smolvlm", "all-linear", "right", [1, 0], 24),
}


def _adalora_case(directory, shows, base, adapter, batch):
    """What AdaLoRA's files compute; parameters that a batch without images leaves out have gradients of zero."""
    directory.mkdir(exist_ok=True)
    model = PeftModel.from_pretrained(load(directory / base), directory / adapter, is_trainable=True).eval()
    results = evaluate(model, batch)
    trained = {name: torch.zeros_like(value) for name, value in model.named_parameters() if value.requires_grad}
    results["gradients"] = by_file_key(model, {**trained, **results["gradients"]})
    total, results["loss"] = results["loss"], label_loss(model, batch)
    facts = {"model": base, "adapter": adapter, "methodLoss": total - results["loss"]}
    write_case(directory, shows, results, [batch], **facts)


def write_adalora(directory, base):
    """AdaLoRA in encoder, connector and decoder; two images, whose passes share one orthogonality loss."""
    model_path = f"../{base}/model"
    directory.mkdir()
    torch.manual_seed(8345)
    steps = {"tinit": 2, "tfinal": 3, "deltaT": 2, "total_step": 14}
    ranks = {"init_r": 3, "target_r": 2, "lora_alpha": 6, "target_modules": ["q_proj", "fc1", "proj"]}
    model = get_peft_model(load(directory / model_path), AdaLoraConfig(task_type="CAUSAL_LM", **ranks, **steps))
    model.peft_config["default"].base_model_name_or_path = f"tiny-{base}"
    perturb(model, 8355, adapter_noise=0.15)
    save(model, directory / "adapter")
    seen = make_batch(8365, [1, 1], 16, padding="right")
    _adalora_case(directory, "AdaLoRA in encoder, connector and decoder", model_path, "adapter", seen)
    # The orthogonality loss is of all factors, whatever a batch has run.
    adapter = f"../{directory.name}/adapter"
    shows = "AdaLoRA in encoder, connector and decoder, and texts without images"
    _adalora_case(directory.with_name(f"{directory.name}-texts"), shows, model_path, adapter, make_texts(8366))


def write_trajectory(directory, base):
    """LoRA in encoder, connector and decoder; PyTorch leaves out what a step has no gradient of."""
    model_path = f"../{base}/model"
    directory.mkdir()
    torch.manual_seed(8370)
    config = LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=SEEING)
    model = get_peft_model(load(directory / model_path), config)
    model.peft_config["default"].base_model_name_or_path = f"tiny-{base}"
    perturb(model, 8371, adapter_noise=0.02)
    save(model, directory / "adapter")
    model = PeftModel.from_pretrained(load(directory / model_path), directory / "adapter", is_trainable=True).eval()
    batches = [make_texts(8372), make_batch(8373, [1, 1], 16), make_texts(8374)]
    optimizer = {**OPTIMIZER, "weightDecay": 0.1}
    losses, norms, final = train(model, batches, 12, optimizer)
    tensors = {f"final/{key}": value for key, value in by_file_key(model, final).items()}
    facts = {"model": model_path, "adapter": "adapter", "optimizer": optimizer}
    difference = trajectory_difference(model, batches, optimizer, losses, norms, final)
    shows = "12 AdamW steps, of which every third sees images"
    write_case(directory, shows, None, batches, tensors, **facts, losses=losses, gradientNorms=norms, float32Difference=difference)


def write_image_cases(root):
    """Writes every case below `root`, each in a folder of its own."""
    for index, (name, (shows, model_type, tied, counts, side)) in enumerate(MODELS.items()):
        directory = root / name
        make(8300 + index, model_type, tied).save_pretrained(directory / "model")
        model = load(directory / "model")
        batch = make_batch(8310 + index, counts, side)
        # A bias of keys shifts all scores alike: its gradient is zero.
        results = evaluate(model, batch, zero_below=1e-9)
        write_case(directory, shows, results, [batch], model="model", greedy=greedy(model, 8320 + index))

    for index, (name, (shows, base, targets, padding, counts, side)) in enumerate(LORAS.items()):
        directory, model_path = root / name, f"../{base}/model"
        directory.mkdir()
        torch.manual_seed(8340 + index)
        config = LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=targets)
        model = get_peft_model(load(directory / model_path), config)
        model.peft_config["default"].base_model_name_or_path = f"tiny-{base}"
        perturb(model, 8350 + index, adapter_noise=0.15)
        save(model, directory / "adapter")
        model = PeftModel.from_pretrained(load(directory / model_path), directory / "adapter", is_trainable=True)
        batch = make_batch(8360 + index, counts, side, padding=padding)
        results = evaluate(model.eval(), batch)
        results["gradients"] = by_file_key(model, results["gradients"])
        write_case(directory, shows, results, [batch], model=model_path, adapter="adapter")

    write_adalora(root / "idefics3-adalora", "idefics3")
    write_trajectory(root / "idefics3-trajectory", "idefics3")
