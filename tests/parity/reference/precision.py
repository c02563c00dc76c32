"""The same model in float64, so that both sides are judged against something better than either.

Transformers casts to float32 in three places whatever the model's dtype: inside RMSNorm, for the
rotary angles and before the cross-entropy. Inside `float64_arithmetic` these stay in float64. The
rotary frequencies themselves keep their float32 values, as every implementation of the field has them.
"""

import contextlib

import torch
from transformers.models.glm.modeling_glm import GlmRMSNorm
from transformers.models.glm4.modeling_glm4 import Glm4RMSNorm
from transformers.models.llama.modeling_llama import LlamaRMSNorm

NORMS = (LlamaRMSNorm, GlmRMSNorm, Glm4RMSNorm)


def _norm_forward(self, hidden_states):
    mean_square = hidden_states.pow(2).mean(-1, keepdim=True)
    return self.weight * (hidden_states * torch.rsqrt(mean_square + self.variance_epsilon))


@contextlib.contextmanager
def float64_arithmetic():
    """Within this block a model moved to float64 computes in float64 from end to end."""
    original_float, originals = torch.Tensor.float, [norm.forward for norm in NORMS]
    original_softmax = torch.nn.functional.softmax

    def softmax(*arguments, dtype=None, **options):
        return original_softmax(*arguments, dtype=torch.float64 if dtype == torch.float32 else dtype, **options)

    torch.nn.functional.softmax = softmax
    torch.Tensor.float = torch.Tensor.double
    for norm in NORMS:
        norm.forward = _norm_forward
    try:
        yield
    finally:
        torch.Tensor.float = original_float
        torch.nn.functional.softmax = original_softmax
        for norm, original in zip(NORMS, originals):
            norm.forward = original


def relative_difference(measured, reference):
    """Largest absolute difference divided by the reference's largest magnitude; none of tensors without elements."""
    if reference.numel() == 0:
        return 0.0
    reference = reference.double()
    scale = reference.abs().max().item()
    difference = (measured.double() - reference).abs().max().item()
    return difference / scale if scale > 0 else difference
