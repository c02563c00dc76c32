// Keeps special-token strings in people's text from being read as special tokens, whatever template
// the text is pasted into: an invisible mark breaks them up, and the tokenizer takes the marks out
// again after it has looked for special tokens.

/** Two code points that Unicode reserves for internal use, so that real text does not hold the pair. */
export const PROTECTION_MARK = "\uFDD0\uFDEF";

/** Makes the function that breaks up every one of `specialTokens` in a text. */
export function createProtection(specialTokens: readonly string[]): (text: string) => string {
  const beginnings = new Set<string>();
  const endings = new Set<string>();
  let longest = 0;
  for (const token of specialTokens) {
    longest = Math.max(longest, token.length);
    for (let i = 1; i < token.length; i++) {
      beginnings.add(token.slice(0, i));
      endings.add(token.slice(i));
    }
  }
  return (text) => {
    let safe = text.replaceAll(PROTECTION_MARK, "");
    for (const token of specialTokens) {
      if (token.length < 2) continue;
      const broken = token[0] + PROTECTION_MARK + token.slice(1);
      // More than once: "aaa" holds "aa" again after its first "aa" is broken.
      while (safe.includes(token)) safe = safe.replaceAll(token, broken);
    }
    // Halves of a token at the edges could meet their other half in the text around.
    for (let i = 1; i < longest && i <= safe.length; i++)
      if (beginnings.has(safe.slice(-i))) {
        safe += PROTECTION_MARK;
        break;
      }
    for (let i = 1; i < longest && i <= safe.length; i++)
      if (endings.has(safe.slice(0, i))) {
        safe = PROTECTION_MARK + safe;
        break;
      }
    return safe;
  };
}
