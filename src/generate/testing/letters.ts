// A tokenizer for the tiny models of the tests.

import type { Tokenizer } from "../../hub/index.ts";

/** A tokenizer of one printable character for each of the tiny model's 97 ids. */
export const letters: Tokenizer = {
  vocabularySize: 97,
  chatTemplate:
    "{% for m in messages %}{{ m.content }}|{% endfor %}{% if add_generation_prompt %}>{% endif %}",
  encode: (text) => [...text].map((letter) => letter.codePointAt(0)! - 32),
  decode: (ids) => ids.map((id) => String.fromCodePoint(id + 32)).join(""),
  protect: (text) => text,
  tokenToId: (token) => token.codePointAt(0)! - 32,
  idToToken: (id) => String.fromCodePoint(id + 32),
};
