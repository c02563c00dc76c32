// Run by itself by streaming.slow.test.ts: one epoch over a large file, then the peak memory and what
// was read, as JSON on standard output. A process of its own, because the peak is the process's.

import { countTargets } from "../../engine/batch.ts";
import type { Tokenizer } from "../../hub/tokenizers/tokenizer-types.ts";
import { loadDataset } from "../load.ts";

/** A token a word: fast, so that the run measures the streaming. */
const tokenizer: Tokenizer = {
  vocabularySize: 2 ** 16,
  eosTokenId: 1,
  encode: (text) => text.split(" ").map((word) => 2 + word.length),
  protect: (text) => text,
  decode: () => "",
  tokenToId: () => undefined,
  idToToken: () => undefined,
};
const noChat = () => ({ inputIds: [], assistantMask: [] });

const [file, packing] = process.argv.slice(2);
const data = await loadDataset(
  {
    train: file!,
    maxLength: 512,
    batchSize: 8,
    seed: 1,
    packing: packing === "packed",
    streaming: true,
  },
  tokenizer,
  noChat,
);
let batches = 0;
let targets = 0;
for await (const { labels } of data.train.epoch(0)) {
  batches++;
  targets += countTargets(labels!);
}
const peakMegabytes = Math.round(process.resourceUsage().maxRSS / 1024);
console.log(JSON.stringify({ batches, targets, peakMegabytes }));
