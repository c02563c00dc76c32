// Times generation of llama.cpp, through node-llama-cpp; prints one line of JSON of the same shape as
// bench/generate-run.ts.
//
//     npm install --prefix .cache/llama-cpp --no-save node-llama-cpp
//     node bench/peers/llama-cpp-generate.mjs --gguf FILE [--module .cache/llama-cpp]

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";

const started = Number(process.env.TUNESMITH_BENCH_SPAWNED ?? performance.timeOrigin);
const { values } = parseArgs({
  options: {
    gguf: { type: "string" },
    module: { type: "string", default: ".cache/llama-cpp" },
    rounds: { type: "string", default: "3" },
    threads: { type: "string", default: String(availableParallelism()) },
  },
});
const require = createRequire(join(resolve(values.module), "package.json"));
const entry = require.resolve("node-llama-cpp");
const { getLlama, LlamaLogLevel } = await import(pathToFileURL(entry));
const version = JSON.parse(
  readFileSync(join(values.module, "node_modules/node-llama-cpp/package.json"), "utf8"),
).version;

const [prompt, shortPrompt, written, sequences] = [512, 16, 64, 8];
const llama = await getLlama({ gpu: false, logLevel: LlamaLogLevel.error, build: "never" });
const model = await llama.loadModel({ modelPath: values.gguf });
const vocabulary = 49152;
const tokens = (count) =>
  Array.from({ length: count }, (_, i) => 17 + ((7919 * i) % (vocabulary - 17)));

/** A context of so many sequences. */
async function open(count) {
  const context = await model.createContext({
    contextSize: 1024,
    sequences: count,
    batchSize: 512,
    threads: Number(values.threads),
  });
  return { context, all: Array.from({ length: count }, () => context.getSequence()) };
}

/** Seconds of greedy tokens for every sequence, behind a short prompt. */
async function write(all, count) {
  const ids = tokens(shortPrompt + 1);
  await Promise.all(
    all.map((one) => one.evaluateWithoutGeneratingNewTokens(ids.slice(0, shortPrompt))),
  );
  const began = performance.now();
  await Promise.all(
    all.map(async (one) => {
      let made = 0;
      const stream = one.evaluate([ids[shortPrompt]], { temperature: 0, yieldEogToken: true });
      for await (const _ of stream) if (++made >= count) break;
    }),
  );
  const seconds = (performance.now() - began) / 1000;
  for (const one of all) await one.clearHistory();
  return seconds;
}

const best = { read: 0, one: 0, all: 0 };
const single = await open(1);
await write(single.all, 1);
const first = (Date.now() - started) / 1000;
for (let round = 0; round < Number(values.rounds); round++) {
  const began = performance.now();
  await single.all[0].evaluateWithoutGeneratingNewTokens(tokens(prompt));
  best.read = Math.max(best.read, prompt / ((performance.now() - began) / 1000));
  await single.all[0].clearHistory();
  best.one = Math.max(best.one, written / (await write(single.all, written)));
}
await single.context.dispose();
const several = await open(sequences);
for (let round = 0; round < Number(values.rounds); round++)
  best.all = Math.max(best.all, (sequences * written) / (await write(several.all, written)));

const kilobytes = /^VmHWM:\s*(\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1];
console.log(
  JSON.stringify({
    peer: "llama.cpp",
    read_tokens_per_second: best.read,
    write_tokens_per_second: best.one,
    write_all_tokens_per_second: best.all,
    seconds_to_first_token: first,
    peak_rss_bytes: 1024 * Number(kilobytes),
    versions: { "node-llama-cpp": version },
  }),
);
process.exit(0);
