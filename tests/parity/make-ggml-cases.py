"""Quantises numbers with ggml itself, for `src/hub/gguf/gguf-quantize.test.ts`.

    python tests/parity/make-ggml-cases.py path/to/libggml-base.so     # rewrites tests/parity/cases/ggml

The library comes with llama.cpp; `npm install node-llama-cpp` has it below
node_modules/@node-llama-cpp/<platform>/bins. Any version will do: the formats are fixed.
"""

import ctypes
import sys
from pathlib import Path

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

from reference.gguf_cases import _encoded
from reference.store import write_json

TYPES = ["Q5_0", "Q8_0", "Q4_K", "Q6_K"]
COLUMNS = 256


def _rows(random):
    """Rows as weights have them (normal, some with outliers), and the ones that quantisers trip over."""
    normal = random.standard_normal((6, COLUMNS)) * 0.02
    outliers = random.standard_normal((3, COLUMNS)) ** 3 * 0.05
    one_sided = np.abs(random.standard_normal((1, COLUMNS)))
    odd = np.zeros((4, COLUMNS))
    odd[1, 17] = 3
    odd[2] = -0.25
    odd[3, ::2] = 1e-20
    return np.concatenate([normal, outliers, one_sided, -one_sided, odd]).astype(np.float32)


def main(library):
    quantize = ctypes.CDLL(library).ggml_quantize_chunk
    quantize.restype = ctypes.c_size_t
    quantize.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_int64] * 3, ctypes.c_void_p]
    rows = _rows(np.random.default_rng(0))
    types = {}
    for name in TYPES:
        elements, size = GGML_QUANT_SIZES[GGMLQuantizationType[name]]
        blocks = np.zeros(rows.size // elements * size, np.uint8)
        quantize(GGMLQuantizationType[name], rows.ctypes.data, blocks.ctypes.data, 0, *rows.shape, None)
        types[name] = _encoded(blocks)
    folder = Path(__file__).parent / "cases" / "ggml"
    folder.mkdir(exist_ok=True)
    write_json(folder / "quantize.json", {"columns": COLUMNS, "float32": _encoded(rows), "types": types})


if __name__ == "__main__":
    main(*sys.argv[1:])
