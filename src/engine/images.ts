// Images on their way into the decoder: they go through the encoder's blocks as texts go through the
// decoder's, forward and back. One at a time, since each has as many rows as a long text, and kernels of
// one shape then serve any number of them.

import type { BoundMethod } from "../methods/index.ts";
import type { BoundArchitecture, ImageEncoder } from "../models/index.ts";
import { createRandom } from "../runtime/random.ts";
import { type BufferPool, floatData, floats, integers } from "../runtime/values.ts";
import { type PixelValues, pixelsOf } from "./batch.ts";
import type { RunValues } from "./bind.ts";
import { type BlockPassed, createBlocks } from "./blocks.ts";
import { createKeptStates } from "./kept-states.ts";
import { createPasses, type Part, type PassesOptions } from "./passes.ts";
import type { TraceShape } from "./trace.ts";

/** What images have become. */
export interface ImageStates {
  /** [rows, hidden], image after image. */
  readonly states: Float32Array;
  /** Whether anything trained has a part in them. */
  readonly isTrained: boolean;
  /** Adds the gradients of what made the states, from theirs; what forward left is let go of. */
  backward(gradient: Float32Array): Promise<void>;
}

export interface ImageReader {
  /**
   * @param training whether gradients will be asked for
   * @param seed of dropout
   */
  read(pictures: readonly PixelValues[], training?: boolean, seed?: number): Promise<ImageStates>;
}

export interface ImageReaderOptions extends PassesOptions {
  readonly architecture: BoundArchitecture;
  readonly pool: BufferPool;
}

/** One image that was run forward, and where its rows lie among the states. */
interface Seen {
  readonly passed: readonly BlockPassed[];
  readonly run: RunValues;
  readonly start: number;
  readonly end: number;
}

export function createImageReader(images: ImageEncoder, options: ImageReaderOptions): ImageReader {
  const { pool } = options;
  const { hiddenSize } = options.architecture.dimensions;
  const { stack } = images;
  const method = options.method && onModules(options.method);
  const parts = { ...options, architecture: stack, method };
  const blocks = createBlocks({ ...parts, passes: createPasses(parts) });
  const kept = reachesWeights(stack.weights, method) ? undefined : createKeptStates();
  const steps: readonly (readonly [part: Part, layer: number])[] = [
    ["enter", 0],
    ...stack.blocks.map((_, layer) => ["block", layer] as const),
    ["finalNorm", 0],
  ];

  /** Runs one image forward; what is trained on the way is left for `backward`. */
  const forward = async (
    pixels: Float32Array,
    imageShape: readonly number[],
    target: Float32Array,
    training: boolean,
    seed: number | undefined,
  ) => {
    const positions = images.positions(imageShape[1]!, imageShape[2]!);
    const patches = positions.length;
    const shape: TraceShape = { batch: 1, sequence: patches, maskBatch: 1, training };
    const run: RunValues = { seed, shared: sharedOf(positions) };
    const passed: BlockPassed[] = [];
    let x = pool.take(imageShape);
    floatData(x).set(pixels);
    let isTrained = false;
    for (const [part, layer] of steps) {
      const block = await blocks.forward(
        {
          layer,
          part,
          shape,
          rows: patches,
          ...(part === "enter" && { inputShape: imageShape }),
          gradients: training,
          ofInput: isTrained,
        },
        x,
        run,
      );
      isTrained = block.isTrained;
      // Nothing below the first trained tensor needs a gradient.
      if (isTrained) passed.push(block);
      else block.forget();
      x = block.y;
    }
    target.set(floatData(x));
    pool.give(x);
    return { passed, run };
  };

  return {
    async read(pictures, training = false, seed) {
      const differentiates = training && !kept;
      const states = new Float32Array(imageRows(pictures, images) * hiddenSize);
      const seen: Seen[] = [];
      let end = 0;
      for (const picture of pictures) {
        const start = end;
        const known = kept?.get(picture);
        end += imageRows([picture], images) * hiddenSize;
        if (known) {
          states.set(known, start);
          continue;
        }
        const [count = 0, ...imageShape] = picture.shape;
        const pixels = await pixelsOf(picture);
        const [pixelCount, width] = [pixels.length / count, (end - start) / count];
        for (let i = 0; i < count; i++) {
          const image = pixels.subarray(i * pixelCount, (i + 1) * pixelCount);
          const from = start + i * width;
          const target = states.subarray(from, from + width);
          const own = seed === undefined ? seed : seedOf(seed, seen.length);
          const passed = await forward(image, imageShape, target, differentiates, own);
          seen.push({ ...passed, start: from, end: from + width });
        }
        kept?.set(picture, states.slice(start, end));
      }
      return {
        states,
        isTrained: seen.some(({ passed }) => passed.length > 0),
        async backward(gradient) {
          for (const { passed, run, start, end } of seen.toReversed()) {
            let ofOutput = passed.length > 0 ? rowsOf(gradient.subarray(start, end)) : undefined;
            for (const block of passed.toReversed()) ofOutput = await block.backward(ofOutput, run);
          }
        },
      };
    },
  };

  function rowsOf(gradient: Float32Array) {
    const value = pool.take([gradient.length / hiddenSize, hiddenSize]);
    floatData(value).set(gradient);
    return value;
  }
}

/** States that nothing is trained in. */
export const frozenStates = (states: Float32Array): ImageStates => ({
  states,
  isTrained: false,
  backward: async () => {},
});

/** How many rows pictures make. @throws TunesmithError (shape) for those that the encoder does not read */
export function imageRows(pictures: readonly PixelValues[], images: ImageEncoder): number {
  const rows = pictures.map(
    ({ shape: [count = 0, , height = 0, width = 0] }) =>
      count * images.rowCount(images.positions(height, width).length),
  );
  return rows.reduce((sum, count) => sum + count, 0);
}

/**
 * Whether a parameter is of a module that images alone go through, so that texts without any leave it out.
 * Its key has the module's path in front, behind PEFT's prefix where there is one.
 */
export function isOfImages(images: ImageEncoder | undefined): (key: string) => boolean {
  const paths = new Set(
    images?.stack.weights.map(({ name }) => name.replace(/\.(weight|bias)$/, "")),
  );
  return (key) => {
    const parts = key.replace(/^base_model\.model\./, "").split(".");
    return paths.size > 0 && parts.some((_, end) => paths.has(parts.slice(0, end + 1).join(".")));
  };
}

/** What a method does to linear modules and to weights; texts and the decoder's sites are not here. */
const onModules = ({
  name,
  parameters,
  adapted,
  replaces,
  linear,
  saved,
}: BoundMethod): BoundMethod => ({
  name,
  parameters,
  replaces,
  ...(adapted && { adapted }),
  ...(linear && { linear }),
  saved,
});

/** Whether a method has a part in what these weights compute. */
export function reachesWeights(
  weights: readonly { readonly name: string }[],
  method: BoundMethod | undefined,
): boolean {
  const adapted = new Set(method?.adapted?.map((path) => `${path}.weight`));
  return weights.some(({ name }) => adapted.has(name) || method?.replaces.has(name));
}

const seedOf = (seed: number, image: number) =>
  createRandom(seed).fork("images").fork(image).nextUint32();

/** Every patch sees every other. */
function sharedOf(positions: readonly number[]): NonNullable<RunValues["shared"]> {
  const count = positions.length;
  return {
    positions: integers(BigInt64Array.from(positions, BigInt), [1, count]),
    mask: floats(new Float32Array(count * count), [1, 1, count, count]),
    rowWeights: floats(new Float32Array(count).fill(1 / count), [1, count]),
  };
}
