// All layers of a model: from token ids to the states that logits are made of, and back. One block is in
// flight at a time, so memory is what was saved plus one block.

import type { BoundArchitecture } from "../models/index.ts";
import type { Value } from "../runtime/kernel.ts";
import type { Batch } from "./batch.ts";
import type { RunValues } from "./bind.ts";
import { type BlockPassed, createBlocks } from "./blocks.ts";
import { createEntry, type Entered } from "./entry.ts";
import { createImageReader, type ImageStates } from "./images.ts";
import { type SharedInputs, sharedInputs } from "./inputs.ts";
import { createPasses, type Part, type PassesOptions, type StatisticGradients } from "./passes.ts";
import type { TraceShape } from "./trace.ts";

/** What the layers read beside the states, for one batch. */
export interface TrunkInputs {
  readonly shared: SharedInputs;
  readonly run: RunValues;
}

/** How a batch is run forward. */
export interface TrunkRequest {
  /** Whether it will be run back. */
  readonly training?: boolean;
  /** Whether what a method averages over a row leaves padding out. */
  readonly skipsPadding?: true;
  /** Told what hooks report, by name: [batch · seq, width], in memory that is used again afterwards. */
  readonly visit?: (name: string, value: Value) => Promise<void>;
  /** What the batch's pictures are, where that is known already. */
  readonly images?: ImageStates | undefined;
}

/** A batch that was run forward through all layers. */
export interface TrunkPassed {
  /** [batch · seq, hidden] */
  readonly x: Value;
  /** Whether anything trained has a part in x. */
  readonly isTrained: boolean;
  readonly shape: TraceShape;
  readonly entered: Entered;
  readonly blocks: readonly BlockPassed[];
  /** Whether the last feed-forward is still to be run, by `finish`. */
  readonly isUnfinished: boolean;
}

export interface Trunk {
  /** The inputs of a batch; what hooks look at of a pass in front of the real one is computed here. */
  inputs(batch: Batch, seed?: number): Promise<TrunkInputs>;
  /** Lets go of what was computed for them. */
  forget(inputs: TrunkInputs): void;
  /** Runs all layers, but for the last feed-forward where its rows are the caller's choice. */
  forward(batch: Batch, inputs: TrunkInputs, request?: TrunkRequest): Promise<TrunkPassed>;
  /** Runs the last feed-forward on rows of x, where `forward` left it. */
  finish(passed: TrunkPassed, rows: Value, inputs: TrunkInputs): Promise<BlockPassed | undefined>;
  /** Adds all gradients of what made x, from that of x; what forward left is let go of. */
  backward(
    passed: TrunkPassed,
    gradient: Value | undefined,
    inputs: TrunkInputs,
    ofStatistics?: StatisticGradients,
  ): Promise<void>;
}

export interface TrunkOptions extends PassesOptions {
  readonly architecture: BoundArchitecture;
}

export function createTrunk(options: TrunkOptions): Trunk {
  const { architecture, method, pool } = options;
  const { layers } = architecture.dimensions;
  const passes = createPasses(options);
  const blocks = createBlocks({ ...options, passes });
  const { enter, leave } = createEntry({ ...options, passes });
  const imageReader = architecture.images && createImageReader(architecture.images, options);
  // The last feed-forward needs the rows alone that logits are made of, unless something looks at all.
  const readsWholeRows = method?.readsWholeRows === true;
  const inputOptions = { offset: method?.positionOffset, hidesPadding: method?.mixesPositions };

  const forward = async (
    batch: Batch,
    { shared, run }: TrunkInputs,
    { training = false, visit, images: known, ...own }: TrunkRequest & { isFirstPass?: true } = {},
  ): Promise<TrunkPassed> => {
    const isUnfinished =
      architecture.feedForward !== undefined &&
      !readsWholeRows &&
      !(training && architecture.auxiliaryLoss);
    const { batch: rows, sequence, maskBatch, rotaryLength } = shared;
    const shape: TraceShape = { batch: rows, sequence, maskBatch, training, rotaryLength, ...own };
    const { pixelValues } = batch;
    const images =
      known ?? (pixelValues && (await imageReader?.read(pixelValues, training, run.seed)));
    const entered = await enter(batch.inputIds.flat(), shape, run, images);
    const done: BlockPassed[] = [];
    // Nothing below the first trained tensor needs a gradient.
    let { x, isTrained } = entered;
    for (let layer = 0; layer < layers; layer++) {
      const part: Part = layer === layers - 1 && isUnfinished ? "attention" : "block";
      const passed = await blocks.forward(
        { layer, part, shape, rows: rows * sequence, gradients: training, ofInput: isTrained },
        x,
        run,
      );
      isTrained = passed.isTrained;
      for (const { segment, statistics } of passed.reported)
        for (const [i, { name }] of segment.statistics.entries())
          await visit?.(name, statistics[i]!);
      if (training) done.push(passed);
      else passed.forget();
      x = passed.y;
    }
    return { x, isTrained, entered, blocks: done, shape, isUnfinished };
  };

  /** The normed states that a pass ends with. */
  const firstStates = async (batch: Batch, inputs: TrunkInputs): Promise<Value> => {
    const { x, shape } = await forward(batch, inputs, { isFirstPass: true });
    const passed = await passes.forward(
      { layer: 0, part: "finalNorm", shape, rows: x.dims[0]!, gradients: false, ofInput: false },
      x,
      inputs.run,
    );
    passes.forget(passed);
    return passed.y;
  };

  return {
    forward,
    async inputs(batch, seed) {
      const shared = sharedInputs(batch, architecture, inputOptions);
      const { values } = shared;
      if (!method?.readsFirstPass) return { shared, run: { shared: values, seed } };
      const states = await firstStates(batch, { shared, run: { shared: values } });
      return { shared, run: { shared: { ...values, firstStates: states }, seed } };
    },
    forget({ run: { shared } }) {
      if (shared?.firstStates) pool.give(shared.firstStates);
    },
    async finish({ shape, isTrained, isUnfinished }, rows, { run }) {
      if (!isUnfinished) return undefined;
      return blocks.forward(
        {
          layer: layers - 1,
          part: "feedForward",
          shape,
          rows: rows.dims[0]!,
          gradients: shape.training,
          ofInput: isTrained,
        },
        rows,
        run,
      );
    },
    async backward({ entered, blocks: done }, arrived, { run }, ofStatistics) {
      let gradient = arrived;
      for (const block of done.toReversed())
        gradient = await block.backward(gradient, run, ofStatistics);
      await leave(entered, gradient, run);
    },
  };
}
