"""What transformers' logits processors make of a few rows of scores, alone and all together."""

import torch
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from .store import write_json

# In the order in which `GenerationMixin._get_logits_processor` adds them.
PROCESSORS = {
    "repetitionPenalty": RepetitionPenaltyLogitsProcessor,
    "temperature": TemperatureLogitsWarper,
    "topK": TopKLogitsWarper,
    "topP": TopPLogitsWarper,
    "minP": MinPLogitsWarper,
}
SETTINGS = [
    {"repetitionPenalty": 1.3},
    {"repetitionPenalty": 0.7},
    {"temperature": 0.7},
    {"temperature": 2.5},
    {"topK": 1},
    {"topK": 5},
    {"topK": 1000},
    {"topP": 0.9},
    {"topP": 0.3},
    {"topP": 0.0001},
    {"minP": 0.05},
    {"minP": 1.0},
    {"topK": 12, "topP": 0.8},
    {"repetitionPenalty": 1.1, "temperature": 0.8, "topK": 16, "topP": 0.95, "minP": 0.02},
    {"repetitionPenalty": 1.5, "temperature": 1.7, "topK": 9, "topP": 0.6, "minP": 0.3},
]


def write_sampling_cases(root):
    generator = torch.Generator().manual_seed(0)
    cases = []
    for settings in SETTINGS:
        scores = (torch.randn(1, 24, generator=generator) * 2.5).round(decimals=3)
        seen = torch.randint(0, 24, (1, 7), generator=generator)
        processors = LogitsProcessorList([make(settings[name]) for name, make in PROCESSORS.items() if name in settings])
        result = processors(seen, scores.clone())[0].tolist()
        kept = [None if value == float("-inf") else value for value in result]
        cases.append({"settings": settings, "seen": seen[0].tolist(), "scores": scores[0].tolist(), "processed": kept})
    root.mkdir(parents=True)
    write_json(root / "cases.json", {"cases": cases})
