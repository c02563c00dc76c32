/**
 * Invented names, products and places for the training file. Each is seen once or twice, so the model cannot learn them
 * by heart: it has to learn where in a message they stand, which is what helps with words that it never saw.
 */
import { createValues } from "../pretraining/values.mjs";

/**
 * @param {import("../pretraining/random.mjs").Random} random
 * @param {import("./fill-ins.mjs").FillIns} fillIns whose products lend their last word: "Skoumel Lamp"
 * @param {ReadonlySet<string>} taken lowercase words that are not to be invented
 * @returns {Record<string, () => string>} by list of fill-ins: draws an invention
 */
export function createInventions(random, fillIns, taken) {
  const { pseudoWord, capitalise } = createValues(random, []);
  const word = () => {
    let drawn;
    do drawn = pseudoWord();
    while (drawn.length < 3 || drawn.length > 10 || taken.has(drawn));
    return drawn;
  };
  const name = () => capitalise(word());
  const item = () =>
    random.pick([
      word,
      () => `${word()} ${random.pick(fillIns.items).split(" ").at(-1)}`,
      () => `${word()} ${word()}`,
    ])();
  return { firstNames: name, lastNames: name, items: item, cities: name };
}
