// Stored numbers to float32: the loops of `loops.ts`, run on a part at a time that is copied into their
// memory and out of it, so that any array can be widened and any can receive.

import { compileFunctions, PAGE } from "./assembler.ts";
import { createLoops, type Loop, type StoredKind } from "./loops.ts";

/** Numbers of a part: few enough to stay in the first-level cache (measured: 2,048 to 65,536). */
const PART = 4096;
/** Bytes that a loop may read or write too many, and more. */
const SLACK = 128;

/** Numbers of the source that share a scale. */
export interface Blocks {
  /** How many bytes of the source they are. */
  readonly bytes: number;
  /** Writes the scales from one block on, as many as there is room for. */
  readonly scales: (first: number, into: Float32Array) => void;
}

const UNSCALED: Blocks = { bytes: 2 * PART, scales: () => {} };

type Machine = ReturnType<typeof start>;
let machine: Machine | undefined;

function start() {
  const { loops, constantBytes } = createLoops();
  const all: Loop[] = Object.values(loops);
  const { memory, functions } = compileFunctions(all.map(({ code }) => code));
  const constants = new Uint8Array(memory.buffer);
  for (const loop of all) constants.set(loop.constants, loop.constantsAt);
  return { loops, constantBytes, memory, functions };
}

/**
 * Fills `target` with the numbers that `source` stores.
 * @param blocks for kinds with scales; the last one may be cut short
 */
export function widen(
  kind: StoredKind,
  source: Uint8Array,
  target: Float32Array,
  blocks = UNSCALED,
): void {
  machine ??= start();
  const { numbersPerByte } = machine.loops[kind];
  const loop = machine.functions[kind]!;
  const count = Math.max(1, Math.floor(PART / (blocks.bytes * numbersPerByte)));
  const partBytes = count * blocks.bytes;
  const part = partBytes * numbersPerByte;
  const { scales, bytes, numbers } = places(machine, count, partBytes, part);
  for (let block = 0, byte = 0, at = 0; at < target.length; block += count) {
    bytes.set(source.subarray(byte, byte + partBytes));
    blocks.scales(block, scales);
    loop(
      bytes.byteOffset,
      bytes.byteOffset + Math.min(partBytes, source.length - byte),
      numbers.byteOffset,
      scales.byteOffset,
      blocks.bytes,
    );
    const left = target.length - at;
    target.set(left < part ? numbers.subarray(0, left) : numbers, at);
    byte += partBytes;
    at += part;
  }
}

/** Memory for the scales, bytes and numbers of a part; more of it is taken where blocks are long. */
function places(
  { constantBytes, memory }: Machine,
  scales: number,
  bytes: number,
  numbers: number,
) {
  const scalesAt = constantBytes;
  const bytesAt = scalesAt + 4 * scales;
  const numbersAt = 4 * Math.ceil((bytesAt + bytes + SLACK) / 4);
  const needed = numbersAt + 4 * numbers + SLACK;
  const missing = needed - memory.buffer.byteLength;
  if (missing > 0) memory.grow(Math.ceil(missing / PAGE));
  return {
    scales: new Float32Array(memory.buffer, scalesAt, scales),
    bytes: new Uint8Array(memory.buffer, bytesAt, bytes),
    numbers: new Float32Array(memory.buffer, numbersAt, numbers),
  };
}
