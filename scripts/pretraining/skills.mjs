/**
 * Exercises for what a language model can do with its context alone: repeat, look up, list, find a span in a
 * sentence, write and read JSON. Values are invented, so only copying can answer. Each exercise is one chat.
 */

/** A text as a training row: all of it is to be predicted. */
export function plain(text) {
  return { prompt: "", completion: text };
}

/** A question and its answer as a training row: only the answer is to be predicted. */
export function chat(question, answer) {
  return {
    prompt: [{ role: "user", content: question }],
    completion: [{ role: "assistant", content: answer }],
  };
}

/**
 * Invented text that says the same again, whole or in part: nothing but copying predicts its second half.
 *
 * @param {import("./random.mjs").Random} random
 * @param {ReturnType<import("./values.mjs").createValues>} values
 * @returns {() => ReturnType<typeof plain>} draws one text
 */
export function createRecitals({ integer, pick, shuffle }, { value }) {
  return () => {
    const items = Array.from({ length: integer(2, 10) }, value);
    const again = pick([items, items, shuffle(items), items.slice(integer(0, items.length - 1))]);
    const separator = pick([" ", ", ", "\n", "; "]);
    return plain([...items, ...again, ...pick([[], again])].join(separator));
  };
}

/**
 * @param {import("./random.mjs").Random} random
 * @param {ReturnType<import("./values.mjs").createValues>} values
 * @param {string[]} sentences English example sentences
 * @returns {() => ReturnType<typeof chat>} draws one exercise
 */
export function createSkills(random, values, sentences) {
  const { integer, pick, chance, shuffle } = random;
  const { value, name, number, word, phrase, pseudoWord, code, date, capitalise } = values;
  const times = (count, make) => Array.from({ length: count }, make);
  const sentence = () => pick(sentences);

  /** Different keys, each with a value. */
  const record = (count = integer(2, 5)) => {
    const keys = new Set();
    while (keys.size < count) keys.add(chance(0.7) ? word().split(" ")[0] : pseudoWord());
    return [...keys].map((key) => [key, value()]);
  };
  const asLines = (entries) => entries.map(([key, entry]) => `${key}: ${entry}`).join("\n");
  const asJson = (entries) => JSON.stringify(Object.fromEntries(entries));
  const clause = ([key, entry]) =>
    pick([
      `the ${key} is ${entry}`,
      `${key} is ${entry}`,
      `${entry} is the ${key}`,
      `the ${key} was ${entry}`,
      `with ${entry} as ${key}`,
      `its ${key}, ${entry},`,
    ]);
  const asProse = (entries) => {
    const clauses = entries.map(clause);
    const text = chance(0.5)
      ? clauses.join(pick([", ", " and ", "; "]))
      : clauses.map(capitalise).join(". ");
    return `${capitalise(text)}.`;
  };

  /** A sentence with marked spans: what surrounds a value tells its kind. */
  const kindsOfSpan = {
    name: [
      name,
      [
        "I am *",
        "this is *",
        "my name is *",
        "* here",
        "says *",
        "ask for *",
        "by *",
        "from *",
        "thanks, *",
      ],
    ],
    number: [
      number,
      ["number *", "no. *", "# *", "it is *", "* of them", "about *", "* in all", "page *"],
    ],
    code: [code, ["the code *", "file *", "under *", "see *", "ref *", "called *"]],
    date: [date, ["on *", "since *", "until *", "by *", "at *", "before *"]],
    place: [
      () => capitalise(chance(0.5) ? word() : pseudoWord()),
      ["in *", "to *", "near *", "at *", "from *"],
    ],
    thing: [() => phrase(), ["a *", "the *", "my *", "some *", "this *", "one *"]],
  };
  const spanSentence = (count) => {
    const chosen = shuffle(Object.keys(kindsOfSpan)).slice(0, count);
    const spans = chosen.map((kind) => [kind, kindsOfSpan[kind][0]()]);
    const pieces = spans.map(([kind, span]) => pick(kindsOfSpan[kind][1]).replace("*", span));
    while (chance(0.6)) pieces.push(sentence().split(" ").slice(0, integer(2, 7)).join(" "));
    return { text: shuffle(pieces).join(pick([", ", ". ", " ", " and ", "; "])), spans };
  };

  const exercises = [
    function repeat() {
      const text = chance(0.4)
        ? sentence()
        : times(integer(1, 6), value).join(pick([" ", ", ", "\n"]));
      return chat(`${pick(["Repeat", "Say", "Copy", "Echo"])}: ${text}`, text);
    },
    function lookUp() {
      const entries = record();
      const [key, answer] = pick(entries);
      return chat(
        `${pick([asLines, asJson, asProse])(entries)}\n\n${pick([`${key}?`, `What is the ${key}?`, `Give the ${key}.`])}`,
        answer,
      );
    },
    function reverseLookUp() {
      const entries = record();
      const [key, given] = pick(entries);
      return chat(
        `${pick([asLines, asJson, asProse])(entries)}\n\n${pick([`Which is ${given}?`, `What has ${given}?`])}`,
        key,
      );
    },
    function recordToJson() {
      const entries = record();
      return chat(
        `${pick(["To JSON", "As JSON", "JSON"])}: ${pick([asLines, asProse, asProse])(entries)}`,
        asJson(entries),
      );
    },
    function chosenKeysToJson() {
      const entries = record(integer(3, 5));
      const chosen = shuffle(entries).slice(0, integer(1, 3));
      return chat(
        `JSON with ${chosen.map(([key]) => key).join(", ")}: ${pick([asLines, asProse])(entries)}`,
        asJson(chosen),
      );
    },
    function jsonToRecord() {
      const entries = record();
      return chat(`As lines: ${asJson(entries)}`, asLines(entries));
    },
    function findSpan() {
      const { text, spans } = spanSentence(integer(1, 4));
      const [kind, answer] = pick(spans);
      return chat(
        `${pick([`Find the ${kind}`, `Which ${kind}?`, `The ${kind}`])}: ${text}`,
        answer,
      );
    },
    function spansToJson() {
      const { text, spans } = spanSentence(integer(2, 4));
      return chat(`Find ${spans.map(([kind]) => kind).join(", ")}: ${text}`, asJson(spans));
    },
    function listItem() {
      const items = times(integer(3, 6), value);
      const place = pick(["first", "second", "third", "last"]);
      const index = { first: 0, second: 1, third: 2, last: items.length - 1 }[place];
      return chat(`The ${place} of: ${items.join(pick([", ", "; ", "\n"]))}`, items[index]);
    },
    function quoted() {
      const answer = value();
      const words = sentence().split(" ");
      const [open, close] = pick([
        ['"', '"'],
        ["(", ")"],
        ["[", "]"],
        ["'", "'"],
      ]);
      words.splice(integer(0, words.length), 0, `${open}${answer}${close}`);
      return chat(`What is between ${open} and ${close}? ${words.join(" ")}`, answer);
    },
    function nextWord() {
      const words = times(integer(3, 9), () => (chance(0.5) ? word().split(" ")[0] : pseudoWord()));
      const index = integer(0, words.length - 2);
      return chat(`What follows ${words[index]}? ${words.join(" ")}`, words[index + 1]);
    },
    function toJsonList() {
      const items = times(integer(2, 5), value);
      return chat(`JSON list: ${items.join(pick([", ", "\n", " and "]))}`, JSON.stringify(items));
    },
  ];
  return () => pick(exercises)();
}
