// `npm run quickstart`: fine-tunes the embedded model with LoRA to turn customers' messages into tool
// calls, and measures what that changed on messages whose names, items and numbers it never saw. Any key of
// its recipe is a flag, as with `tunesmith train`: `npm run quickstart -- --train.seed 1`.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { loadModel } from "../src/api/index.ts";
import { type Console, processConsole } from "../src/cli/console.ts";
import { formatDuration, shortPath } from "../src/cli/format.ts";
import { createProgress } from "../src/cli/progress.ts";
import { showError } from "../src/cli/show-error.ts";
import { TunesmithError } from "../src/errors.ts";
import { type ChatMessage, encodeChat } from "../src/hub/index.ts";
import { loadRecipe } from "../src/recipe/load.ts";
import { type Override, splitOverrides } from "../src/recipe/overrides.ts";
import { train } from "../src/recipe/train.ts";
import type { RunFinished } from "../src/train/index.ts";

const ASSETS = join(import.meta.dirname, "..", "assets", "quickstart");
const RECIPE = join(ASSETS, "recipe.yaml");
const TEST = join(ASSETS, "test.jsonl");

/** Messages shown side by side at the end. */
const SHOWN = 3;
/** No right answer is as long; a model that rambles is cut off here. */
const LONGEST_ANSWER = 64;

interface Question {
  readonly prompt: readonly ChatMessage[];
  readonly expected: string;
}

interface Exam {
  readonly answers: readonly string[];
  /** The share of answers that are right to the letter. */
  readonly exactMatch: number;
}

async function quickstart(console: Console, overrides: readonly Override[]): Promise<void> {
  const startedAt = Date.now();
  const { errColors: colors } = console;
  const say = (text: string) => console.err(`${text}\n`);
  const loaded = await loadRecipe(RECIPE, { overrides });
  const model = loaded.recipe.model.path!;
  const questions = await readQuestions();

  say(
    `${colors.bold("1. The embedded model, untuned")}, answers ${questions.length} held-out messages`,
  );
  const before = await examine(model, undefined, questions);
  say(`   ${percent(before.exactMatch)} of its answers are right\n`);

  say(`${colors.bold("2. Fine-tuning it")} as ${shortPath(RECIPE)} says`);
  const run = await runRecipe(console, loaded);
  const adapter = run.adapterFolder!;
  say("");

  say(`${colors.bold("3. The tuned model")} answers the same messages`);
  const after = await examine(model, adapter, questions);
  say(`   ${percent(after.exactMatch)} of its answers are right\n`);

  for (const [index, { prompt, expected }] of questions.slice(0, SHOWN).entries()) {
    const tuned = after.answers[index]!;
    const mark = tuned === expected ? colors.green("✓") : colors.red("✗");
    say(`${colors.dim("message")}  ${prompt.at(-1)!.content}`);
    say(`${colors.dim("untuned")}  ${oneLine(before.answers[index]!)}`);
    say(`${colors.dim("tuned")}    ${oneLine(tuned)} ${mark}\n`);
  }
  console.out(
    `exact match on ${questions.length} held-out messages: ${percent(before.exactMatch)} before, ` +
      `${percent(after.exactMatch)} after, in ${formatDuration((Date.now() - startedAt) / 1000)}\n`,
  );
  const folder = shortPath(join(adapter, ".."));
  const options = `--model ${shortPath(model)} --adapter ${shortPath(adapter)}`;
  console.out(
    `\nadapter       ${shortPath(adapter)}  (PEFT loads it too)\nrun folder    ${folder}\n` +
      `loss picture  ${join(folder, "loss.svg")}\n\nNext:\n` +
      `  npx tunesmith chat ${options}\n` +
      "  npx tunesmith init        a recipe for your own model and data\n" +
      "  npx tunesmith doctor      what this machine offers\n",
  );
}

async function readQuestions(): Promise<Question[]> {
  const lines = (await readFile(TEST, "utf8")).trim().split("\n");
  return lines.map((line) => {
    const { messages } = JSON.parse(line) as { messages: ChatMessage[] };
    return { prompt: messages.slice(0, -1), expected: messages.at(-1)!.content };
  });
}

async function runRecipe(
  console: Console,
  recipe: Awaited<ReturnType<typeof loadRecipe>>,
): Promise<RunFinished> {
  const progress = createProgress(console);
  let finished: RunFinished | undefined;
  try {
    for await (const event of train({ ...recipe, name: "quickstart" })) {
      progress.show(event);
      if (event.type === "run-finished") finished = event;
    }
  } finally {
    progress.finish();
  }
  return finished!;
}

/** Lets a model answer every question by itself, all side by side, the likeliest token each time. */
async function examine(
  model: string,
  adapter: string | undefined,
  questions: readonly Question[],
): Promise<Exam> {
  await using loaded = await loadModel(model, { adapter, trainable: false, dtype: "float32" });
  const tokenizer = await loaded.loadTokenizer();
  const { tokenIds } = await loaded.generate({
    inputIds: questions.map(
      ({ prompt }) => encodeChat(tokenizer, prompt, { addGenerationPrompt: true }).inputIds,
    ),
    maxNewTokens: LONGEST_ANSWER,
    temperature: 0,
  });
  const answers = tokenIds.map((ids) => tokenizer.decode(ids, { skipSpecialTokens: true }).trim());
  const right = answers.filter((answer, index) => answer === questions[index]!.expected).length;
  return { answers, exactMatch: right / questions.length };
}

function percent(share: number): string {
  return `${(100 * share).toFixed(0)} %`;
}

function oneLine(text: string): string {
  const line = text.replaceAll(/\s+/g, " ");
  return line.length > 110 ? `${line.slice(0, 107)}…` : line;
}

const console = processConsole();
try {
  const { rest, overrides, faults } = splitOverrides(process.argv.slice(2));
  for (const argument of rest)
    faults.push({
      where: `quickstart: ${argument}`,
      rule: "the quickstart takes keys of its recipe as flags, and nothing else",
      seen: argument,
      fix: "pass flags such as --train.seed 1, or nothing",
    });
  if (faults.length > 0) throw new TunesmithError("config", faults);
  await quickstart(console, overrides);
} catch (error) {
  showError(error, console);
  process.exitCode = 1;
}
