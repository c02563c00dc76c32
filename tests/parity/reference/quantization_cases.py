"""What bitsandbytes makes of matrices on the CPU: codes, scales and the numbers they stand for.

The matrices are random with a few outliers; one has an odd number of elements and a block that is cut
short. Tensors are laid out as a checkpoint has them, under the name `layer.weight`. No width is a multiple
of 16: for those, where rows are not whole blocks, the AVX-512 kernel of bitsandbytes 0.50.2 takes the scales
of other blocks, against its own definition and its other kernels.
"""

import bitsandbytes.functional as F
import torch
from safetensors.torch import save_file

from .store import write_json

# name: (shape, dtype, block, quantise_4bit settings)
FOUR_BIT = {
    "nf4-double": ((96, 97), torch.float16, {"quant_type": "nf4", "compress_statistics": True, "blocksize": 32}),
    "nf4": ((48, 40), torch.bfloat16, {"quant_type": "nf4", "blocksize": 64}),
    "nf4-odd": ((33, 31), torch.float32, {"quant_type": "nf4", "blocksize": 64}),
    "fp4": ((40, 44), torch.float32, {"quant_type": "fp4", "blocksize": 128}),
    "fp4-double": ((40, 44), torch.float16, {"quant_type": "fp4", "compress_statistics": True, "blocksize": 64}),
}
INT8 = (24, 40)


def _matrix(shape, dtype, seed):
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randn(shape, generator=generator) * 0.05
    matrix[torch.rand(shape, generator=generator) < 0.01] *= 8
    matrix[0, :3] = torch.tensor([0.0, -0.0, 1e-9])
    return matrix.to(dtype)


def write_quantization_cases(root):
    root.mkdir(parents=True, exist_ok=True)
    settings_of = {}
    for index, (name, (shape, dtype, settings)) in enumerate(FOUR_BIT.items()):
        matrix = _matrix(shape, dtype, 40 + index)
        packed, state = F.quantize_4bit(matrix, **settings)
        state.dtype = torch.float32
        parts = {f"layer.weight.{key}": value for key, value in state.as_dict(packed=True).items()}
        save_file(
            {"original": matrix, "dequantized": F.dequantize_4bit(packed, state), "layer.weight": packed, **parts},
            root / f"{name}.safetensors",
        )
        settings_of[name] = {
            "type": settings["quant_type"],
            "doubleQuantization": settings.get("compress_statistics", False),
            "blockSize": settings["blocksize"],
        }
    matrix = _matrix(INT8, torch.float32, 60)
    matrix[5] = 0
    codes, scales, _ = F.int8_vectorwise_quant(matrix.to(torch.float16))
    save_file(
        {
            "original": matrix,
            "dequantized": F.int8_vectorwise_dequant(codes, scales),
            "layer.weight": codes,
            "layer.SCB": scales,
            "layer.weight_format": torch.tensor(0, dtype=torch.uint8),
        },
        root / "int8.safetensors",
    )
    settings_of["int8"] = {"type": "int8"}
    write_json(root / "cases.json", settings_of)
