/**
 * Invented values for the skill exercises: words, names, numbers, codes, dates. Most are made of random letters or
 * syllables, so that the model can only answer by copying from its context and not from memory.
 */

const consonants = [
  "b",
  "c",
  "d",
  "f",
  "g",
  "h",
  "j",
  "k",
  "l",
  "m",
  "n",
  "p",
  "r",
  "s",
  "t",
  "v",
  "w",
  "y",
  "z",
].concat(["br", "ch", "cl", "dr", "fl", "gr", "kr", "pl", "qu", "sh", "sk", "st", "th", "tr"]);
const vowels = ["a", "e", "i", "o", "u", "a", "e", "i", "o", "ai", "ea", "ee", "io", "oo", "ou"];
const endings = [
  "",
  "",
  "l",
  "m",
  "n",
  "r",
  "s",
  "t",
  "ck",
  "ng",
  "nd",
  "rt",
  "x",
  "ston",
  "berg",
  "ova",
  "ey",
  "sson",
];
const months = ["January", "February", "March", "April", "May", "June", "July"].concat([
  "August",
  "September",
  "October",
  "November",
  "December",
]);

/**
 * @param {import("./random.mjs").Random} random
 * @param {string[]} words lowercase English words and phrases
 */
export function createValues(random, words) {
  const { integer, pick, chance } = random;
  const times = (count, make) => Array.from({ length: count }, make);

  const pseudoWord = () =>
    times(integer(1, 3), () => pick(consonants) + pick(vowels)).join("") + pick(endings);
  const word = () => pick(words);
  const phrase = () => times(integer(1, 3), word).join(" ");
  const capitalise = (text) => text.charAt(0).toUpperCase() + text.slice(1);
  const anyWord = () => (chance(0.5) ? word() : pseudoWord());
  const name = () => times(integer(1, 3), () => capitalise(anyWord())).join(" ");
  const digits = (low, high) => times(integer(low, high), () => integer(0, 9)).join("");
  const number = () => digits(1, 8);
  const decimal = () => `${integer(0, 999)}.${digits(1, 2)}`;
  const letters = () =>
    times(integer(2, 6), () => pick([..."abcdefghijklmnopqrstuvwxyz"])).join("");
  const code = () =>
    pick([
      () => `${letters().toUpperCase()}-${digits(2, 5)}`,
      () => `${digits(2, 4)}-${digits(2, 4)}`,
      () => `#${digits(3, 6)}`,
      () => `${letters()}${digits(1, 3)}`,
      () => `${letters()}.${pick(["js", "ts", "json", "md", "txt"])}`,
      () => `${pseudoWord()}@${pseudoWord()}.com`,
    ])();
  const date = () =>
    pick([
      () => `${integer(1, 28)} ${pick(months)}`,
      () => `${pick(months)} ${integer(1, 28)}`,
      () => `${integer(1900, 2039)}-${digits(2, 2)}-${digits(2, 2)}`,
      () => `${integer(1, 12)}:${integer(10, 59)}`,
    ])();

  const kinds = { word, pseudoWord, phrase, name, number, decimal, code, date };
  const weights = [
    "word",
    "pseudoWord",
    "phrase",
    "phrase",
    "name",
    "name",
    "name",
    "number",
    "number",
  ].concat(["decimal", "code", "date"]);
  /** A value of a random kind. */
  const value = () => kinds[pick(weights)]();
  return { ...kinds, value, capitalise };
}
