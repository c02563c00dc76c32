// Outputs that are written to memory of ours are also copied to fresh memory by onnxruntime-node, which
// hands the copies back: at 9 GB/s and a page fault for every 4 KiB. It converts outputs in the graph's
// order and gives up at the first that is no tensor, when all have been computed. So every graph has an
// empty sequence as its first output, which is asked for where the copies are not wanted.

import type { OnnxGraph } from "../onnx/index.ts";

/** The first output's name. */
export const STOP = "stop";

/** The graph with an output in front that no copy goes beyond. */
export const withStop = (graph: OnnxGraph): OnnxGraph => ({
  ...graph,
  nodes: [{ type: "SequenceEmpty", inputs: [], outputs: [STOP] }, ...graph.nodes],
  outputs: [{ name: STOP, type: "sequence", shape: [] }, ...graph.outputs],
});

/** Whether what was thrown says that the conversion of outputs ended there. */
export const isStop = (thrown: unknown): boolean =>
  thrown instanceof Error && thrown.message.startsWith("Non tensor type");
