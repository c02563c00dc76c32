"""Matrices of whole numbers of a few bits, packed as AutoGPTQ and AutoAWQ save them, with the values they stand for.

The libraries want a GPU, so their packing is written down here, from the numbers to the words; the values
come from the numbers themselves, never from the words.
"""

import torch
from safetensors.torch import save_file

from .store import write_json

INPUT, OUTPUT, GROUP = 64, 32, 16
AWQ_ORDER = [0, 2, 4, 6, 1, 3, 5, 7]


def _words(numbers, order):
    """Packs the last axis, eight numbers a word; `order[k]` is the number in bits 4k to 4k + 3."""
    eights = numbers.to(torch.int64).reshape(*numbers.shape[:-1], -1, 8)
    words = sum(eights[..., order[k]] << (4 * k) for k in range(8))
    return torch.where(words >= 2**31, words - 2**32, words).to(torch.int32)


def _stream(numbers, bits):
    """Packs the last axis, numbers of any bits one behind the other, 32 of them in `bits` words."""
    rows = []
    for row in numbers.tolist():
        whole = sum(number << (bits * k) for k, number in enumerate(row))
        rows.append([(whole >> (32 * word)) & 0xFFFFFFFF for word in range(len(row) * bits // 32)])
    words = torch.tensor(rows, dtype=torch.int64)
    return torch.where(words >= 2**31, words - 2**32, words).to(torch.int32)


def _write(folder, settings, tensors, weight):
    folder.mkdir(parents=True)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "model.safetensors")
    write_json(folder / "config.json", {"model_type": "llama", "quantization_config": settings})
    save_file({"layer.weight": weight.contiguous()}, folder / "expected.safetensors")


def write_packed_cases(root):
    generator = torch.Generator().manual_seed(0)
    numbers = torch.randint(0, 16, (OUTPUT, INPUT), generator=generator)
    groups = INPUT // GROUP
    zeros = torch.randint(1, 16, (groups, OUTPUT), generator=generator)
    scales = (torch.rand((groups, OUTPUT), generator=generator) * 0.02 + 0.001).to(torch.float16)
    bias = torch.randn(OUTPUT, generator=generator).to(torch.float16)
    in_turn = torch.arange(INPUT) // GROUP
    shuffled = in_turn[torch.randperm(INPUT, generator=generator)]

    def weight(group_of):
        return (scales[group_of].T * (numbers - zeros[group_of].T).to(torch.float16)).to(torch.float16)

    def gptq(group_of, offset):
        return {
            "layer.qweight": _words(numbers, list(range(8))).T,
            "layer.qzeros": _words(zeros - offset, list(range(8))),
            "layer.scales": scales,
            "layer.g_idx": group_of.to(torch.int32),
            "layer.bias": bias,
        }

    common = {"bits": 4, "group_size": GROUP}
    first = {"quant_method": "gptq", "sym": False, **common}
    _write(root / "gptq", {**first, "desc_act": False}, gptq(in_turn, 1), weight(in_turn))
    _write(root / "gptq-desc-act", {**first, "desc_act": True}, gptq(shuffled, 1), weight(shuffled))
    second = {**first, "checkpoint_format": "gptq_v2", "desc_act": False}
    _write(root / "gptq-v2", second, gptq(in_turn, 0), weight(in_turn))
    awq = {
        "layer.qweight": _words(numbers.T, AWQ_ORDER),
        "layer.qzeros": _words(zeros, AWQ_ORDER),
        "layer.scales": scales,
        "layer.bias": bias,
    }
    _write(root / "awq", {"quant_method": "awq", "version": "gemm", "zero_point": True, **common}, awq, weight(in_turn))

    for bits in (2, 3, 8):
        top = 2**bits
        wide = torch.randint(0, top, (OUTPUT, INPUT), generator=generator)
        middle = torch.randint(1, top, (groups, OUTPUT), generator=generator)
        expected = (scales[in_turn].T * (wide - middle[in_turn].T).to(torch.float16)).to(torch.float16)
        tensors = {
            "layer.qweight": _stream(wide, bits).T,
            "layer.qzeros": _stream(middle - 1, bits),
            "layer.scales": scales,
            "layer.g_idx": in_turn.to(torch.int32),
            "layer.bias": bias,
        }
        _write(root / f"gptq-{bits}-bits", {**first, "bits": bits, "desc_act": False}, tensors, expected)
