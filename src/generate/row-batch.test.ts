// What is read again of a prompt that begins like the one before it, where images stand in both.

import { expect, it } from "vitest";
import { createDecoder } from "../engine/decoding/decoder.ts";
import { createReadImages } from "../engine/decoding/read-images.ts";
import { contractBatches } from "../engine/testing/contract-batches.ts";
import { openTiny } from "../engine/testing/tiny-models.ts";
import { startReply } from "./reply.ts";
import { createRowBatch } from "./row-batch.ts";

const { alone } = contractBatches("idefics3");
const [prompt, other] = [alone[0].inputIds[0]!, alone[1].inputIds[0]!];

it("a text is read from where it or one of its images differs", async () => {
  const model = await openTiny("idefics3");
  const { dimensions, images } = model.architecture;
  const imageTokens = { token: images!.token, width: dimensions.hiddenSize };
  const readImages = createReadImages(model);
  const picture = await readImages(prompt, alone[0].pixelValues!);
  const another = await readImages(other, alone[1].pixelValues!);

  /** Answers one prompt after another, and says how many tokens of each were read before the first of its own. */
  const converse = () => {
    const read: number[] = [];
    const batch = createRowBatch(
      (modelOf) => {
        const decoder = createDecoder(model, { batch: 1, modelOf });
        const own = decoder.append;
        const append: typeof own = (rows, states) => {
          read.push(rows[0]!.length);
          return own(rows, states);
        };
        return Object.defineProperty(decoder, "append", { value: append });
      },
      async () => model,
      true,
      imageTokens,
    );
    return async (ids: readonly number[], states?: Float32Array) => {
      read.length = 0;
      const answer = startReply(model, ids, { maxNewTokens: 3, ignoreEos: true }, undefined, 0);
      batch.join(answer, null, ids.length + 3, states);
      while (!answer.isOver) await batch.advance();
      batch.leave();
      return { tokens: (await answer.reply.finished).tokenIds, read: read[0]! };
    };
  };

  const ask = converse();
  const first = await ask(prompt, picture);
  expect(first.read).toBe(prompt.length);
  const further = [...prompt, ...first.tokens, 7, 8];
  const images2 = new Float32Array([...picture, ...another]);
  const shown = [...further, ...other];
  for (const [ids, states, unread] of [
    [further, picture, 3], // the last token of the answer was not read, and two are new
    [further, another, further.length - 1], // all but the token in front of the image
    [further, undefined, further.length - 1],
    [further, picture, further.length - 1],
    [shown, images2, other.length],
    [shown, images2, 1],
  ] as const) {
    const { tokens, read } = await ask(ids, states);
    expect(read).toBe(unread);
    expect(tokens).toEqual((await converse()(ids, states)).tokens);
  }
  await model.dispose();
});
