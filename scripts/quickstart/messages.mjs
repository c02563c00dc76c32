/**
 * The quickstart's task: a customer writes to a shop in their own words, and the model answers with the tool call
 * that a program can act on. Every argument is copied from the message.
 */

const orders = ["order *", "order #*", "order number *", "my order *", "order no. *"];

/** A tool: its arguments in the order in which they are written, and how customers ask for it. */
const tools = {
  refund: {
    arguments: ["customer", "order", "item"],
    requests: [
      "the {item} from {order} stopped working and I want my money back.",
      "please refund the {item} in {order}.",
      "I sent back the {item} from {order}. When will I be paid back?",
      "I am not happy with the {item}. Can I get a refund for {order}?",
      "{order}: the {item} is not what I expected, I would like my money back.",
      "could you give me a refund? It is about the {item} from {order}.",
    ],
  },
  replace: {
    arguments: ["customer", "order", "item"],
    requests: [
      "the {item} from {order} arrived broken, please send a new one.",
      "can you swap the {item} in {order}? It has a crack.",
      "the {item} in {order} is the wrong one. I need the right one.",
      "the {item} from {order} is damaged. Please replace it.",
      "there is a hole in the {item} you sent ({order}), I need another one.",
      "could I exchange the {item}? The number is {order}.",
    ],
  },
  cancel: {
    arguments: ["customer", "order"],
    requests: [
      "please cancel {order}.",
      "I changed my mind, I do not need {order} any more.",
      "can you stop {order} before it ships?",
      "I ordered by mistake, so please drop {order}.",
      "I no longer want {order}.",
    ],
  },
  track: {
    arguments: ["customer", "order"],
    requests: [
      "where is {order}?",
      "{order} has not come yet. Where is it now?",
      "I am still waiting for {order}, do you know where it is?",
      "can you tell me when {order} will be here?",
      "has {order} been shipped yet?",
    ],
  },
  ship_to: {
    arguments: ["customer", "order", "city"],
    requests: [
      "I moved to {city}, please send {order} there.",
      "can {order} go to my new address in {city}?",
      "please deliver {order} to {city} and not to my old home.",
      "{order} must go to {city}, I do not live at the old place now.",
      "the address of {order} is wrong: it should be in {city}.",
    ],
  },
  call_back: {
    arguments: ["customer", "phone", "date"],
    requests: [
      "please call me on {date}, my number is {phone}.",
      "can somebody ring me on {date}? My number is {phone}.",
      "I would like to talk to a person on {date}. Phone: {phone}.",
      "my phone is {phone}, I am free on {date}.",
      "could you phone {phone} on {date}?",
    ],
  },
};

const openings = [
  "Hi, {customer} here. *",
  "Hello, this is {customer}. *",
  "My name is {customer}. *",
]
  .concat([
    "Hi! I am {customer} and I have a question: *",
    "{customer} here: *",
    "Good morning, {customer} speaking. *",
  ])
  .concat(["Dear team, *\nRegards, {customer}", "*\nThanks, {customer}", "Hello, *\n{customer}"])
  .concat(["Hi, * Thank you! {customer}", "Hey, * - {customer}", "*\nBest wishes, {customer}"]);

/**
 * Draws one example as chat messages.
 *
 * @param {import("../pretraining/random.mjs").Random} random
 * @param {(list: keyof import("./fill-ins.mjs").FillIns) => string} drawFillIn
 * @param {() => string} drawNumber an order number that the other file does not use
 */
export function drawExample(random, drawFillIn, drawNumber) {
  const { pick, integer, chance } = random;
  const tool = pick(Object.keys(tools));
  const values = {
    customer: chance(0.8)
      ? `${drawFillIn("firstNames")} ${drawFillIn("lastNames")}`
      : drawFillIn("firstNames"),
    order: drawNumber(),
    // Written as a shop writes its products' names: "Snow Shovel".
    item: drawFillIn("items").split(" ").map(capitalise).join(" "),
    city: drawFillIn("cities"),
    phone: `0${drawNumber()}${integer(10, 99)}`,
    date: `${integer(1, 28)} ${drawFillIn("months")}`,
  };
  const order = pick(orders).replace("*", values.order);
  const request = pick(tools[tool].requests).replace("{order}", order);
  const opening = pick(openings);
  const filled = opening.replace("*", /(^|[.!] )\*/.test(opening) ? capitalise(request) : request);
  const message = Object.entries(values).reduce(
    (result, [key, value]) => result.replace(`{${key}}`, value),
    filled,
  );
  const call = {
    tool,
    ...Object.fromEntries(tools[tool].arguments.map((key) => [key, values[key]])),
  };
  return {
    messages: [
      { role: "user", content: capitalise(message) },
      { role: "assistant", content: JSON.stringify(call) },
    ],
  };
}

const capitalise = (text) => text.charAt(0).toUpperCase() + text.slice(1);
