"""How a case lies on disk: `case.json` (small, readable) and `expected.safetensors` (float32)."""

import json

import torch
from safetensors.torch import save_file


def _rounded(value):
    return [float(f"{number:.3g}") for number in value] if isinstance(value, list) else float(f"{value:.3g}")


def _compact(value, indent=0):
    """JSON with one line for each row of numbers, so that a changed case can be read in a diff."""
    pad = "  " * (indent + 1)
    if isinstance(value, dict) and value:
        lines = [f"{pad}{json.dumps(key)}: {_compact(item, indent + 1)}" for key, item in value.items()]
        return "{\n" + ",\n".join(lines) + "\n" + "  " * indent + "}"
    if isinstance(value, list) and any(isinstance(item, (list, dict)) for item in value):
        return "[\n" + ",\n".join(pad + _compact(item, indent + 1) for item in value) + "\n" + "  " * indent + "]"
    return json.dumps(value)


def write_json(path, value):
    path.write_text(_compact(value) + "\n")


def pictures(images):
    """Images [rows, images, channels, height, width] one after another; those of zeros are no images."""
    real = [image for image in images.flatten(0, 1) if image.abs().max() > 0]
    return [{"shape": [1, *image.shape], "data": image.flatten().tolist()} for image in real]


def batch_as_lists(batch):
    return {key: pictures(value) if key == "pixelValues" else value.tolist() for key, value in batch.items()}


def write_case(directory, description, results, batches, tensors=None, **facts):
    """Writes one case. `results` come from `evaluate`, keyed as the files' readers expect them."""
    directory.mkdir(parents=True, exist_ok=True)
    expected = {}
    if results is not None:
        expected["logits"] = results["logits"]
        for name, gradient in results["gradients"].items():
            expected[f"gradients/{name}"] = gradient
    expected.update(tensors or {})
    save_file(
        {name: tensor.to(torch.float32).contiguous() for name, tensor in expected.items()},
        directory / "expected.safetensors",
    )
    case = {"shows": description, **facts, "batches": [batch_as_lists(batch) for batch in batches]}
    if results is not None:
        case["loss"] = results["loss"]
        case["float32Difference"] = {key: _rounded(value) for key, value in results["float32"].items()}
    write_json(directory / "case.json", case)
