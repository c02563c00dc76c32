"""Token ids of texts chosen to part tokenizers: scripts, white space, digits, code, odd Unicode."""

from .smollm2 import load_gguf_tokenizer, load_tokenizer
from .store import write_json

TEXTS = [
    "Hello, world!",
    "The quick brown fox jumps over the lazy dog.",
    "",
    " ",
    "   leading and trailing   ",
    "tabs\tand\nnewlines\r\nand\n\n\nblank lines",
    "one  two   three    four",
    "It's they're we've I'd you'll I'M THEY'RE",
    "naïve café, Zürich, Łódź, smørrebrød, ﬁne ligature",
    "e\u0301 is not \u00e9 but looks like it",
    "こんにちは世界。お元気ですか?",
    "你好，世界！今天天气很好。",
    "안녕하세요 세계",
    "Привет, мир! Как дела?",
    "مرحبا بالعالم",
    "שלום עולם",
    "नमस्ते दुनिया",
    "สวัสดีชาวโลก",
    "Γειά σου Κόσμε",
    "🙂 👩‍👩‍👧‍👦 🇨🇭 👍🏽 ✨",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝟙𝟚𝟛 ½ ² Ⅷ ٣",
    "1234567890 3.14159 1,000,000 -42 1e-5 0xFF",
    "In 2024, 7 of 12 people paid $19.99.",
    "a  2 and   33, then\n\n4. four\n\n\n5",
    "1. first\n2. second\n\n10. tenth",
    "| 1 |   22 |  333 |\n|---|------|------|",
    "x²+y²=z², ½, Ⅳ, ①②③",
    "v1.2.3-beta+exp.sha.5114f85",
    "def add(a: int, b: int) -> int:\n    \"\"\"Adds.\"\"\"\n    return a + b\n",
    "for (let i = 0; i < 10; i++) {\n\tconsole.log(`${i}`);\n}\n",
    "<div class=\"a\">&amp; &lt;b&gt;</div>",
    "SELECT * FROM t WHERE id = 42 AND name LIKE '%x%';",
    "{\"key\": [1, 2.5, null, true], \"nested\": {\"a\": \"b\"}}",
    "https://example.org/path?q=1&r=two#frag someone@example.org",
    "C:\\Users\\name\\file.txt and /usr/local/bin",
    "!!! ??? ... --- *** ### @@@ $$$ %%% ^^^ &&& ((( )))",
    "\u00a0non-breaking\u2003em space\u200bzero width\u3000ideographic",
    "\ufeffbyte order mark",
    "null\u0000byte and \u001b escape",
    "supercalifragilisticexpialidocious antidisestablishmentarianism",
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "camelCaseWords snake_case_words kebab-case-words SCREAMING_CASE",
    "<|im_start|>user\nHi<|im_end|>\n<|endoftext|>",
    "text<|im_end|>text <|im_end|> text<|im_end",
    "<repo_name>a/b<file_sep>c.py\n<empty_output>",
    "Mixed: 日本語とEnglishと123、そして🎌。",
    "“Curly quotes” — em dash – en dash … ellipsis",
    "∀x∈ℝ: ⌈x⌉ = −⌊−x⌋, α ∧ ¬β → ∑ ∫ √",
]

MESSAGES = [
    [{"role": "user", "content": "What is 2 + 2?"}],
    [
        {"role": "system", "content": "You answer in one word."},
        {"role": "user", "content": "Capital of France?"},
        {"role": "assistant", "content": "Paris"},
        {"role": "user", "content": "And of Italy?"},
    ],
]


def write_tokenizer(out):
    tokenizer, uncorrected = load_tokenizer(), load_gguf_tokenizer()
    texts = []
    for text in TEXTS:
        ids = tokenizer(text).input_ids
        entry = {"text": text, "ids": ids, "decoded": tokenizer.decode(ids, clean_up_tokenization_spaces=False)}
        plain = uncorrected(text).input_ids
        if plain != ids:
            entry["idsWithoutDigitRule"] = plain
        texts.append(entry)
    chats = []
    for messages in MESSAGES:
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        chats.append({"messages": messages, "text": text, "ids": tokenizer(text).input_ids})
    write_json(out / "tokenizer.json", {"texts": texts, "chats": chats})
    parted = sum("idsWithoutDigitRule" in entry for entry in texts)
    print(f"tokenizer: {len(texts)} texts, {parted} of which need the file's own digit rule; {len(chats)} chats")
