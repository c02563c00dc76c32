// Stored numbers to float32: the loops of `loops.ts`, run on a part at a time. The source is copied into
// their memory, and the numbers out of it, unless the array that they go to lies there.

import { compileRoutines, type Instance, PAGE } from "./assembler.ts";
import { createLoops, type StoredKind } from "./loops.ts";

/** Numbers of a part: so many that starting one costs little beside them (measured: 2,048 to 1,048,576). */
const PART = 65536;
/** More than the bytes that a loop reads or writes beyond a block. */
const SLACK = 128;

/** Where in memory the scales, bytes and numbers of a part lie, behind the constants. */
const SCALES_AT = 1024;
const BYTES_AT = SCALES_AT + 4 * PART;
const NUMBERS_AT = PAGE * Math.ceil((BYTES_AT + 2 * PART + SLACK) / PAGE);

/** Pages of a memory for so many numbers, and for the rest of a block that is cut short. */
const pagesFor = (numbers: number) => Math.ceil((NUMBERS_AT + 4 * (numbers + PART) + SLACK) / PAGE);

/** Numbers of the source that share a scale. */
export interface Blocks {
  /** How many bytes of the source they are. */
  readonly bytes: number;
  /** Writes the scales (of int4: each with its zero point) from one block on, as many as there is room for. */
  readonly scales: (first: number, into: Float32Array) => void;
}

const UNSCALED: Blocks = { bytes: Number.POSITIVE_INFINITY, scales: () => {} };

interface Machine {
  readonly instantiate: (pages: number) => Instance<StoredKind>;
  readonly loops: ReturnType<typeof createLoops>["loops"];
  readonly common: Instance<StoredKind>;
}
let machine: Machine | undefined;
const instances = new WeakMap<Float32Array, Instance<StoredKind>>();

function start(): Machine {
  const { loops, constants } = createLoops();
  const routines = Object.fromEntries(
    Object.entries(loops).map(([kind, { routine }]) => [kind, routine]),
  );
  const instantiate = compileRoutines(routines, constants);
  return { instantiate, loops, common: instantiate(pagesFor(PART)) };
}

/** An array that `widen` fills without copying what it made: it lies in the loops' own memory. */
export function createWideArray(length: number): Float32Array<ArrayBuffer> {
  machine ??= start();
  const instance = machine.instantiate(pagesFor(length));
  const array = new Float32Array(instance.buffer, NUMBERS_AT, length);
  instances.set(array, instance);
  return array;
}

/**
 * Fills `target`, or as much of it as there is source for, with the numbers that are stored.
 * @param blocks for kinds with scales; the last one may be cut short
 */
export function widen(
  kind: StoredKind,
  source: Uint8Array,
  target: Float32Array,
  blocks = UNSCALED,
): void {
  machine ??= start();
  const { numbersPerByte, floatsPerBlock } = machine.loops[kind];
  const own = instances.get(target);
  const { buffer, functions } = own ?? machine.common;
  const partBytes = PART / numbersPerByte;
  const blocksOfPart = Math.ceil(partBytes / blocks.bytes);
  const scales = new Float32Array(buffer, SCALES_AT, floatsPerBlock * blocksOfPart);
  const bytes = new Uint8Array(buffer, BYTES_AT, partBytes);
  const numbers = new Float32Array(buffer, NUMBERS_AT, PART);
  const wholeBlocks = partBytes - (partBytes % blocks.bytes);
  for (let byte = 0; byte < source.length; ) {
    const block = Math.floor(byte / blocks.bytes);
    const end = Math.min(
      source.length,
      byte + (wholeBlocks || Math.min(partBytes, (block + 1) * blocks.bytes - byte)),
    );
    const at = byte * numbersPerByte;
    bytes.set(source.subarray(byte, end));
    blocks.scales(block, scales);
    functions[kind](
      BYTES_AT,
      BYTES_AT + end - byte,
      own ? target.byteOffset + 4 * at : NUMBERS_AT,
      SCALES_AT,
      Math.min(blocks.bytes, partBytes),
    );
    if (!own)
      target.set(numbers.subarray(0, Math.min(target.length, end * numbersPerByte) - at), at);
    byte = end;
  }
}
