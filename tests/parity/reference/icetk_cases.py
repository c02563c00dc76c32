"""icetk's way of reading texts, by the real SentencePiece: small unigram models of the kind that `ice_text.model` is,
extended as SwissArmyTransformer's `icetk-glm-130B` and ChatGLM-6B extend theirs, with ids and texts of a corpus.
"""

import io
import re
import struct

import sentencepiece

from .smollm2_tokenizer import TEXTS
from .store import write_json

IMAGE_TOKENS = 20000
SPECIAL = ["[MASK]", "[gMASK]", "[sMASK]", "<eod>", "<sop>", "<eop>", "<ENC>", "<dBLOCK>"]
CONTROL, USER_DEFINED, BYTE = 3, 4, 6
CHINESE = [
    "你好世界！这里是一个测试。",
    "北京是中华人民共和国的首都，人口超过两千万。",
    "今天天气很好，我们去公园散步吧？",
    "机器学习（Machine Learning）是人工智能的一个分支……",
    "他说：“明天见！”然后就走了。",
    "３６５天　全角空格和ＡＢＣ。",
    "GLM-130B 是一个双语模型，有 1300 亿参数。",
]
ENGLISH = [
    "The quick brown fox jumps over the lazy dog, and the dog does not mind at all.",
    "A language model is trained to predict what comes next in a text.",
    "He said: \"It's 5 o'clock; let's go!\" and they went home.",
    "Blank infilling hides spans of a text and asks for what was there.",
]
SPACES = [
    "",
    " ",
    "  ",
    "a",
    " a",
    "a ",
    "  two  spaces   three    four",
    "def f(x):\n    if x:\n        return x\n\treturn 0\n",
    "tab\tand\t\ttabs",
    " " * 85 + "x",
    " " * 161,
    "line\n\n\nends\r\nmixed\rones",
    "a line\n and a space",
    "no\u00a0break\u3000wide\u200bzero",
    "▁ itself ▁",
]
ODD = [
    "[MASK] and [gMASK] and <sop> as they are written",
    "<n> and <|tab|> and <|blank_4|> and <|blank_99|> <0x41>",
    "ﬁne ½ ① ℃ ㌔ ﾊﾟ が Å é e\u0301",
    "emoji 🙂🙃 and 𝒳 and \u0000\u0007 control",
    "สวัสดี مرحبا שלום ру́сский",
    "<unk> <s> </s> <pad>",
    "ab" * 100,
]
# name: (normalisation, whether spaces are kept as they are)
MODELS = {"nfkc": ("nmt_nfkc", False), "identity": ("identity", True)}


def _train(rule, keeps_spaces):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([*ENGLISH, *CHINESE, *TEXTS] * 4),
        model_writer=model,
        model_type="unigram",
        vocab_size=420,
        hard_vocab_limit=False,
        character_coverage=0.98,
        normalization_rule_name=rule,
        remove_extra_whitespaces=not keeps_spaces,
        pad_id=3,
        user_defined_symbols=["<n>", "①"],
        num_threads=1,
        minloglevel=2,
    )
    return model.getvalue()


def _field(number, content):
    """A field of bytes in Protocol Buffers' encoding; fields written later join a message's earlier ones."""
    length, size = len(content), b""
    while True:
        size += bytes([length & 0x7F | (0x80 if length > 0x7F else 0)])
        length >>= 7
        if not length:
            return bytes([number << 3 | 2]) + size + content


def _piece(text, kind):
    return _field(1, _field(1, text.encode()) + b"\x15" + struct.pack("<f", 0.0) + bytes([3 << 3, kind]))


def _extended(model):
    added = [_piece(text, CONTROL) for text in SPECIAL]
    added += [_piece(text, USER_DEFINED) for text in ["<|tab|>", *(f"<|blank_{i}|>" for i in range(2, 81))]]
    added += [_piece(f"<0x{byte:02X}>", BYTE) for byte in range(256)]
    return model + b"".join(added) + _field(2, b"\x98\x02\x01")  # byte_fallback, field 35


def _marked(text):
    text = text.replace("\n", "<n>").replace("\t", "<|tab|>")
    return re.sub(" {2,80}", lambda run: f"<|blank_{len(run[0])}|>", text)


def _unmarked(text):
    text = text.replace("<n>", "\n").replace("<|tab|>", "\t")
    return re.sub(r"<\|blank_([2-9]|[1-7]\d|80)\|>", lambda mark: " " * int(mark[1]), text)


def write_icetk_cases(root):
    """Writes each model with its texts, their ids and what these give back."""
    for name, (rule, keeps_spaces) in MODELS.items():
        directory = root / name
        directory.mkdir(parents=True)
        published = _train(rule, keeps_spaces)
        (directory / "ice_text.model").write_bytes(published)
        model = sentencepiece.SentencePieceProcessor(model_proto=_extended(published))
        texts = []
        for text in [*SPACES, *ODD, *CHINESE, *ENGLISH, *TEXTS]:
            ids = model.encode(_marked(text))
            texts.append({"text": text, "ids": [id + IMAGE_TOKENS for id in ids], "decoded": _unmarked(model.decode(ids))})
        special = {token: model.piece_to_id(token) + IMAGE_TOKENS for token in [*SPECIAL, "</s>", "<pad>", "<n>"]}
        write_json(directory / "cases.json", {"size": model.vocab_size() + IMAGE_TOKENS, "special": special, "texts": texts})
