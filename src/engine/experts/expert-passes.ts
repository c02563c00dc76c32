// A layer's experts, each run on the rows alone that were sent to it: rows are gathered on the host,
// an expert is a segment like any other, and what it makes is added where its rows came from.

import type { Value } from "../../runtime/kernel.ts";
import { type BufferPool, floatData } from "../../runtime/values.ts";
import type { RunValues } from "../bind.ts";
import type { Passed, Passes, SegmentRequest, StatisticGradients } from "../passes.ts";
import { expertRowCount, gatherColumns, rowsInColumn, scatterAddColumns } from "./expert-rows.ts";
import { columnsOf } from "./pieces.ts";

/** The experts of a layer that were run forward, and what joined them. */
export interface ExpertsPassed {
  /** [rows, hidden] */
  readonly y: Value;
  /** Whether anything trained has a part in y. */
  readonly isTrained: boolean;
  /** What joined them, which hooks report from as well. */
  readonly joined: Passed;
  /** The gradient of what `toExperts` made, from that of y; see `Passes.backward`. */
  backward(
    outputGradient: Value | undefined,
    run: RunValues,
    ofStatistics?: StatisticGradients,
  ): Promise<Value | undefined>;
  forget(): void;
}

export interface ExpertPasses {
  /**
   * @param request of the layer; its `part` and `rows` are those of the residual stream
   * @param entered what `toExperts` made
   * @param isTrained whether anything trained has a part in it
   */
  forward(
    request: SegmentRequest,
    entered: Value,
    isTrained: boolean,
    run: RunValues,
  ): Promise<ExpertsPassed>;
}

export function createExpertPasses(
  passes: Passes,
  pool: BufferPool,
  hidden: number,
  expertCount: (layer: number) => number,
): ExpertPasses {
  return {
    async forward(request, entered, isTrained, run) {
      const { layer, rows } = request;
      const columns = columnsOf(hidden, expertCount(layer));
      const { width } = columns;
      const data = floatData(entered);
      const joined = pool.take([rows, 2 * hidden]);
      const output = { data: floatData(joined), width: 2 * hidden, start: hidden };
      const all = Int32Array.from({ length: rows }, (_, row) => row);
      const toJoin = { data, width, start: 0 };
      gatherColumns(toJoin, all, { ...output, start: 0 }, 2 * hidden);

      const experts: { readonly passed: Passed; readonly own: Int32Array; column: number }[] = [];
      for (let expert = 0; expert < expertCount(layer); expert++) {
        const column = columns.weights + expert;
        const own = rowsInColumn({ data, width, start: column }, rows);
        if (own.length === 0) continue;
        const count = expertRowCount(own.length);
        const x = pool.take([count, hidden + 1]);
        const given = { data: floatData(x), width: hidden + 1, start: 0 };
        gatherColumns({ data, width, start: columns.input }, own, given, hidden);
        gatherColumns({ data, width, start: column }, own, { ...given, start: hidden }, 1);
        given.data.fill(0, own.length * given.width);
        const passed = await passes.forward(
          { ...request, part: "expert", expert, rows: count, ofInput: isTrained },
          x,
          run,
        );
        const made = { data: floatData(passed.y), width: hidden, start: 0 };
        scatterAddColumns(made, own, output, hidden);
        pool.give(passed.y);
        if (request.gradients) experts.push({ passed, own, column });
        else passes.forget(passed);
      }

      const anyTrained = experts.some(({ passed }) => passed.segment.trained.length > 0);
      const ofInput = isTrained || anyTrained;
      const join = await passes.forward({ ...request, part: "fromExperts", ofInput }, joined, run);
      return {
        y: join.y,
        isTrained: ofInput || (request.gradients && join.segment.trained.length > 0),
        joined: join,
        forget() {
          for (const { passed } of experts) passes.forget(passed);
          passes.forget(join);
        },
        async backward(outputGradient, run, ofStatistics) {
          const ofJoined = await passes.backward(join, outputGradient, run, ofStatistics);
          if (!ofJoined) {
            for (const { passed } of experts) passes.forget(passed);
            return undefined;
          }
          const arrived = { data: floatData(ofJoined), width: 2 * hidden, start: 0 };
          const ofEntered = isTrained ? pool.take([rows, width]) : undefined;
          const target = ofEntered && { data: floatData(ofEntered), width, start: 0 };
          target?.data.fill(0);
          if (target) gatherColumns(arrived, all, target, 2 * hidden);
          for (const { passed, own, column } of experts) {
            const ofOutput = pool.take([passed.x.dims[0]!, hidden]);
            const given = { data: floatData(ofOutput), width: hidden, start: 0 };
            gatherColumns({ ...arrived, start: hidden }, own, given, hidden);
            given.data.fill(0, own.length * hidden);
            const ofInput = await passes.backward(passed, ofOutput, run);
            if (!ofInput) continue;
            const source = { data: floatData(ofInput), width: hidden + 1, start: 0 };
            if (target) {
              scatterAddColumns(source, own, { ...target, start: columns.input }, hidden);
              scatterAddColumns({ ...source, start: hidden }, own, { ...target, start: column }, 1);
            }
            pool.give(ofInput);
          }
          pool.give(ofJoined);
          return ofEntered;
        },
      };
    },
  };
}
