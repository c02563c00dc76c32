"""What Idefics3's processor makes of image files and of conversations with images: pixel values by its image
processor on Pillow, which scales as those models were trained on, and token ids.
"""

import numpy as np
import torch
from PIL import Image, ImageCms, ImageOps
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models
from transformers import PreTrainedTokenizerFast
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.idefics3.processing_idefics3 import Idefics3Processor

from .store import write_json

# As SmolVLM has it.
TEMPLATE = (
    "<|im_start|>{% for message in messages %}{{message['role'] | capitalize}}"
    "{% if message['content'][0]['type'] == 'image' %}{{':'}}{% else %}{{': '}}{% endif %}"
    "{% for line in message['content'] %}{% if line['type'] == 'text' %}{{line['text']}}"
    "{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
SPECIAL = ["<pad>", "<|im_start|>", "<end_of_utterance>"]
PLACES = [f"<row_{line}_col_{column}>" for line in (1, 2) for column in (1, 2)]
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 \n.,:;?!<>_-'"
SIZE = 97
TOKENS_OF_SQUARE = 9
# The tag of Exif that says how a picture is turned.
ORIENTATION = 0x0112

# name: (width, height, file type, settings)
IMAGES = {
    "wide": (61, 40, "png", {}),
    "tall": (23, 57, "png", {}),
    "photo": (90, 70, "jpg", {}),
    "strip": (150, 31, "png", {"size": {"longest_edge": 72}}),
    "whole": (50, 35, "png", {"do_image_splitting": False}),
    "small": (17, 16, "png", {"size": {"longest_edge": 24}}),
    "bicubic": (61, 40, "png", {"resample": 3}),
}
SETTINGS = {"size": {"longest_edge": 48}, "max_image_size": {"longest_edge": 24}}

SMALL = {"size": {"longest_edge": 24}, "max_image_size": {"longest_edge": 12}}
# name: (width, height), at and beyond the limits of SMALL
SIZES = {"pixel": (1, 1), "line": (1, 70), "exact": (24, 12), "over": (25, 12), "tower": (9, 90), "even": (13, 20)}
# name: (file type, mode, what is written with it); opacity and palettes of 16 colours by modes of Pillow
KINDS = {
    "grey": ("png", "L", {}),
    "bits": ("png", "1", {}),
    "opacity": ("png", "RGBA", {}),
    "grey-opacity": ("png", "LA", {}),
    "palette": ("png", "P", {}),
    "palette-hole": ("png", "P", {"transparency": 3}),
    "colour-hole": ("png", "RGB", {"transparency": "first"}),
    "mirrored": ("png", "RGB", {"orientation": 7}),
    "turned": ("jpg", "RGB", {"orientation": 6}),
    "grey-photo": ("jpg", "L", {}),
    "progressive": ("jpg", "RGB", {"progressive": True, "quality": 60}),
    "profile": ("jpg", "RGB", {"icc_profile": "swapped"}),
    "lossy": ("webp", "RGB", {}),
    "lossless": ("webp", "RGBA", {"lossless": True}),
    "gif": ("gif", "P", {}),
    "tiff": ("tiff", "RGB", {}),
    "ink": ("jpg", "CMYK", {}),
}


def make_tokenizer():
    """A token for every letter, and those of images; the last id is that of the tiny models' image token."""
    names = [*SPECIAL, "<fake_token_around_image>", "<global-img>", *PLACES]
    vocabulary = [*names, *LETTERS]
    vocabulary += [f"<unused_{i}>" for i in range(SIZE - 1 - len(vocabulary))] + ["<image>"]
    model = models.BPE(vocab={token: i for i, token in enumerate(vocabulary)}, merges=[], unk_token="?")
    tokenizer = Tokenizer(model)
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens([AddedToken(name, normalized=False, special=True) for name in [*names, "<image>"]])
    options = {"pad_token": "<pad>", "bos_token": "<|im_start|>", "eos_token": "<end_of_utterance>"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, chat_template=TEMPLATE, **options)


def make_image(generator, width, height):
    """Waves of several lengths with noise, so that every filter shows."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [127 + 90 * np.sin(x / 9 + y / 17), 127 + 90 * np.cos(x * y / 300), (3 * x + 5 * y) % 256]
    noisy = np.stack(waves, -1) + generator.normal(0, 12, (height, width, 3))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def save_kind(generator, path, mode, options):
    """An image of another kind of file: opacity is noise, and a profile one that no reader should apply."""
    image = make_image(generator, 21, 14)
    if mode in ("RGBA", "LA"):
        image = image.convert(mode[:-1])
        image.putalpha(Image.fromarray(generator.integers(0, 256, (14, 21)).astype(np.uint8)))
    elif mode == "P":
        image = image.quantize(16)
    else:
        image = image.convert(mode)
    written = dict(options)
    if "orientation" in written:
        written["exif"] = Image.Exif()
        written["exif"][ORIENTATION] = written.pop("orientation")
    if written.get("transparency") == "first":
        written["transparency"] = image.getpixel((0, 0))
    if "icc_profile" in written:
        written["icc_profile"] = swapped_profile()
    image.save(path, **written)


def swapped_profile():
    """sRGB's profile with the places of red and blue exchanged: whoever applies it shows."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, blue = profile.find(b"rXYZ"), profile.find(b"bXYZ")
    profile[red : red + 4], profile[blue : blue + 4] = b"bXYZ", b"rXYZ"
    # The time it was made and its checksum differ from run to run.
    profile[24:36] = bytes(12)
    profile[84:100] = bytes(16)
    return bytes(profile)


def write_processor_cases(root):
    """Writes files of images, the processor's own, and what it makes of the first by the second."""
    root.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(8400)
    expected, images = {}, {}

    def look(name, path, settings):
        processor = Idefics3ImageProcessorPil(**{**SETTINGS, **settings})
        # Turned as loaders of data sets turn them; what is transparent is the processor's own business.
        shown = ImageOps.exif_transpose(Image.open(path))
        made = processor([shown], return_tensors="np", return_row_col_info=True)
        assert (made["pixel_attention_mask"] == 1).all()
        expected[name] = torch.from_numpy(made["pixel_values"][0].astype(np.float32)).contiguous()
        whole = Idefics3Processor(processor, make_tokenizer(), TOKENS_OF_SQUARE, chat_template=TEMPLATE)
        ids = whole(text="a<image>b", images=[[shown]], add_special_tokens=False)["input_ids"][0]
        shape = {"rows": made["rows"][0][0], "columns": made["cols"][0][0], "inputIds": list(ids)}
        images[name] = {"file": path.name, "settings": settings, **shape}

    for name, (width, height, kind, settings) in IMAGES.items():
        path = root / f"{name}.{kind}"
        make_image(generator, width, height).save(path, **({"quality": 90} if kind == "jpg" else {}))
        look(name, path, settings)
    for name, (width, height) in SIZES.items():
        make_image(generator, width, height).save(root / f"{name}.png")
        look(name, root / f"{name}.png", SMALL)
    for name, (kind, mode, options) in KINDS.items():
        save_kind(generator, root / f"{name}.{kind}", mode, options)
        look(name, root / f"{name}.{kind}", SMALL)
    save_file(expected, root / "expected.safetensors")

    image_processor = Idefics3ImageProcessorPil(**SETTINGS)
    processor = Idefics3Processor(image_processor, make_tokenizer(), TOKENS_OF_SQUARE, chat_template=TEMPLATE)
    processor.save_pretrained(root / "processor")
    messages = [
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is it?"}, {"type": "image"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "Waves."}]},
        {"role": "user", "content": [{"type": "text", "text": "And now? "}, {"type": "image"}]},
    ]
    shown = ["wide", "photo", "tall"]
    text = processor.apply_chat_template(messages, add_generation_prompt=True)
    files = [Image.open(root / images[name]["file"]) for name in shown]
    ids = processor(text=text, images=[files], add_special_tokens=False)["input_ids"][0]
    case = {"shows": "images as pixel values and as tokens", "images": images, "messages": messages, "shown": shown}
    write_json(root / "case.json", {**case, "tokensOfSquare": TOKENS_OF_SQUARE, "inputIds": list(ids)})
