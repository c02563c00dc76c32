"""Small tokenizers with the ids that transformers, tokenizers and sentencepiece give for a varied corpus."""

import io
import json

import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from .smollm2_tokenizer import MESSAGES, TEXTS
from .store import write_json

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"]
# Trained on itself and the corpus: enough to learn merges in every script that the corpus has.
TRAINING = [*TEXTS, *(message["content"] for chat in MESSAGES for message in chat)] * 3
EXTRA_TEXTS = [
    "next\u0085line \ufeff mark \u2028 separator",
    "half ½ Ⅷ ٣ 12³45",
    "call <tool>now</tool> and <tool> again",
    "<|im_end|><|im_end|> <|im_start|>assistant\n<|pad|>",
    "<|im_<|im_end|>end|>",
    "word " * 40,
    "ab" * 150,
]

# Words of Llama 3 and Qwen 2 as their own tokenizer.json files spell them.
WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|DIGITS| ?[^\s\p{L}\p{N}]+[\r\n]*|"
    r"\s*[\r\n]+|\s+(?!\S)|\s+"
)

CHAT_TEMPLATE = """{%- for message in messages %}
    {%- if message.role == 'assistant' %}
        {{- '<|im_start|>assistant\\n' }}
        {%- generation %}
        {{- message.content | trim + '<|im_end|>' }}
        {%- endgeneration %}
        {{- '\\n' }}
    {%- else %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content | trim + '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""


def _words(kind):
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    gpt2 = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    split = {"llama-bpe": WORDS.replace("DIGITS", r"\p{N}{1,3}"), "qwen2": WORDS.replace("DIGITS", r"\p{N}")}
    if kind in split:
        return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(split[kind]), "isolated"), byte_level])
    digits = [pre_tokenizers.Digits(individual_digits=True)] if kind == "smollm" else []
    return pre_tokenizers.Sequence([*digits, gpt2])


def _train():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = _words("smollm")
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TRAINING, trainer)
    tokenizer.add_tokens([AddedToken("<tool>", special=False), AddedToken("</tool>", special=False)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", tokenizer.token_to_id("<|endoftext|>"))]
    )
    return tokenizer


def _text_case(tokenizer, text):
    ids = tokenizer(text).input_ids
    return {
        "text": text,
        "ids": ids,
        "plainIds": tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids,
        "decoded": tokenizer.decode(ids, clean_up_tokenization_spaces=False),
        "decodedWithoutSpecial": tokenizer.decode(
            ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        ),
    }


def _chat_case(tokenizer, messages):
    encoded = tokenizer.apply_chat_template(
        messages, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
    )
    return {
        "messages": messages,
        "text": tokenizer.apply_chat_template(messages, tokenize=False),
        "prompt": tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True),
        "ids": encoded["input_ids"],
        "assistantMask": encoded["assistant_masks"],
    }


CHATS = [
    *MESSAGES,
    [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "  2 + 2?\n"},
        {"role": "assistant", "content": "4"},
        {"role": "user", "content": "12 times 12"},
        {"role": "assistant", "content": " 144\n\nthat is a gross "},
    ],
]


def _write_byte_level(out):
    trained = _train()
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=trained,
        bos_token="<|endoftext|>",
        eos_token="<|im_end|>",
        pad_token="<|pad|>",
        chat_template=CHAT_TEMPLATE,
    )
    wrapped.save_pretrained(out)
    kinds = {}
    for kind in ["gpt-2", "smollm", "llama-bpe", "qwen2"]:
        tokenizer = Tokenizer.from_str(trained.to_str())
        tokenizer.pre_tokenizer = _words(kind)
        tokenizer.model.ignore_merges = kind == "llama-bpe"
        kinds[kind] = [tokenizer.encode(text, add_special_tokens=False).ids for text in TEXTS + EXTRA_TEXTS]
    cases = {
        "texts": [_text_case(wrapped, text) for text in TEXTS + EXTRA_TEXTS],
        "chats": [_chat_case(wrapped, messages) for messages in CHATS],
        "idsByPreTokenizer": kinds,
    }
    write_json(out / "cases.json", cases)


def _write_sentencepiece(out):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TRAINING),
        model_writer=model,
        model_type="bpe",
        vocab_size=800,
        byte_fallback=True,
        split_digits=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True,
        character_coverage=0.98,
        minloglevel=2,
    )
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    size = processor.vocab_size()
    # ggml's token types: 1 normal, 2 unknown, 3 control, 6 byte.
    kind = lambda i: 2 if processor.is_unknown(i) else 3 if processor.is_control(i) else 6 if processor.is_byte(i) else 1
    texts = [text for text in TEXTS + EXTRA_TEXTS if text]
    out.mkdir(parents=True)
    write_json(
        out / "cases.json",
        {
            "tokens": [processor.id_to_piece(i) for i in range(size)],
            "scores": [processor.get_score(i) for i in range(size)],
            "types": [kind(i) for i in range(size)],
            "texts": [{"text": text, "ids": processor.encode(text)} for text in texts],
        },
    )


def write_tokenizer_cases(root):
    _write_byte_level(root / "byte-level")
    _write_sentencepiece(root / "sentencepiece")
