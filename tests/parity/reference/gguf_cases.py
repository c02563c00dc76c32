"""Random quantised blocks with the values that the `gguf` package decodes them to."""

import base64

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize

from .store import write_json

TYPES = ["F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K"]
# Where in a block the float16 scales lie; everywhere else any byte is a valid one.
SCALES = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}


def _encoded(array):
    return base64.b64encode(array.tobytes()).decode()


def _blocks(name, random):
    elements, size = GGML_QUANT_SIZES[GGMLQuantizationType[name]]
    count = max(2, 64 // elements)
    if elements == 1:
        values = random.standard_normal(count).astype(np.float32)
        if name == "BF16":
            return (values.view(np.uint32) >> 16).astype(np.uint16).view(np.uint8)
        return values.astype({"F32": np.float32, "F16": np.float16}[name]).view(np.uint8)
    blocks = random.integers(0, 256, (count, size), dtype=np.uint8)
    for offset in SCALES[name]:
        scales = random.standard_normal(count).astype(np.float16)
        blocks[:, offset : offset + 2] = scales.view(np.uint8).reshape(count, 2)
    return blocks.reshape(-1)


def write_gguf_cases(root):
    random = np.random.default_rng(0)
    cases = []
    for name in TYPES:
        data = _blocks(name, random)
        values = dequantize(data, GGMLQuantizationType[name]).astype(np.float32)
        cases.append({"type": name, "bytes": _encoded(data), "float32": _encoded(values)})
    root.mkdir(parents=True)
    write_json(root / "dequantize.json", {"cases": cases})
