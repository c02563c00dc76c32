// The values of a GGUF header's metadata: scalars, texts, and arrays of them.

import { type GgufCursor, ggufFault } from "./gguf-cursor.ts";

/** Numbers beyond 2^53 come as bigint; arrays of numbers as typed arrays, of booleans as bytes. */
export type GgufValue =
  | number
  | bigint
  | boolean
  | string
  | GgufNumbers
  | readonly string[]
  | readonly GgufValue[];

export type GgufNumbers =
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | Int32Array
  | Float32Array
  | Float64Array
  | BigUint64Array
  | BigInt64Array;

const MAX_ARRAY_DEPTH = 4;

interface ScalarType {
  readonly bytes: number;
  read(view: DataView): GgufValue;
  /** Absent for types whose arrays are not typed ones. */
  array?: new (
    buffer: ArrayBuffer,
  ) => GgufNumbers;
}

const whole = (value: bigint): number | bigint =>
  Number.isSafeInteger(Number(value)) ? Number(value) : value;

/** By the type number in the file. */
const SCALAR_TYPES: Readonly<Record<number, ScalarType>> = {
  0: { bytes: 1, read: (view) => view.getUint8(0), array: Uint8Array },
  1: { bytes: 1, read: (view) => view.getInt8(0), array: Int8Array },
  2: { bytes: 2, read: (view) => view.getUint16(0, true), array: Uint16Array },
  3: { bytes: 2, read: (view) => view.getInt16(0, true), array: Int16Array },
  4: { bytes: 4, read: (view) => view.getUint32(0, true), array: Uint32Array },
  5: { bytes: 4, read: (view) => view.getInt32(0, true), array: Int32Array },
  6: { bytes: 4, read: (view) => view.getFloat32(0, true), array: Float32Array },
  7: { bytes: 1, read: (view) => view.getUint8(0) !== 0, array: Uint8Array },
  10: { bytes: 8, read: (view) => whole(view.getBigUint64(0, true)), array: BigUint64Array },
  11: { bytes: 8, read: (view) => whole(view.getBigInt64(0, true)), array: BigInt64Array },
  12: { bytes: 8, read: (view) => view.getFloat64(0, true), array: Float64Array },
};
const STRING_TYPE = 8;
const ARRAY_TYPE = 9;

/**
 * The value of a key.
 * @param type its number in the file
 * @throws TunesmithError (checkpoint) where it cannot be one
 */
export function readGgufValue(cursor: GgufCursor, type: number, key: string, depth = 0): GgufValue {
  if (type === STRING_TYPE) return cursor.string(key);
  if (type === ARRAY_TYPE) return readArray(cursor, key, depth);
  const scalar = SCALAR_TYPES[type];
  if (!scalar) throw ggufFault(cursor.path, `${key} must have a known type`, `type number ${type}`);
  return scalar.read(cursor.take(scalar.bytes, key));
}

function readArray(cursor: GgufCursor, key: string, depth: number): GgufValue {
  if (depth >= MAX_ARRAY_DEPTH)
    throw ggufFault(
      cursor.path,
      `arrays nest at most ${MAX_ARRAY_DEPTH} deep`,
      `${key} nests deeper`,
    );
  const type = cursor.uint32(key);
  const length = cursor.count(`the length of ${key}`);
  const scalar = SCALAR_TYPES[type];
  if (scalar?.array) {
    const { buffer, byteOffset, byteLength } = cursor.take(length * scalar.bytes, key);
    // A copy: the cursor's window is neither aligned nor long-lived.
    return new scalar.array(new Uint8Array(buffer, byteOffset, byteLength).slice().buffer);
  }
  const leastBytes = type === ARRAY_TYPE ? 12 : 8;
  if (length * leastBytes > cursor.remaining)
    throw ggufFault(
      cursor.path,
      `${key} must lie within the file's header`,
      `${length} elements with ${cursor.remaining} bytes left`,
    );
  const values: GgufValue[] = [];
  for (let i = 0; i < length; i++) values.push(readGgufValue(cursor, type, key, depth + 1));
  return values;
}
