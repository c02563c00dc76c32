// Builds GGUF files for tests, truthful ones and lying ones.

import { GGML_TYPES, type GgmlType } from "../gguf/gguf-types.ts";

export type Metadata = Record<string, number | boolean | string | readonly string[] | Float32Array>;

export interface TensorSpec {
  readonly name: string;
  readonly type: GgmlType;
  /** PyTorch's order, slowest first. */
  readonly shape: readonly number[];
  readonly data: Uint8Array;
  /** Lies: a type number, or an offset other than the true one. */
  readonly typeId?: number;
  readonly offset?: number;
}

export interface Lies {
  readonly version?: number;
  readonly tensorCount?: bigint;
  readonly metadataCount?: bigint;
  /** Bytes in place of the metadata's. */
  readonly rawMetadata?: Uint8Array;
}

/** Little-endian bytes of one number. */
export function uint32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
}

export function uint64(value: bigint | number): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value), true);
  return bytes;
}

export function text(value: string): Uint8Array {
  const bytes = new TextEncoder().encode(value);
  return concat([uint64(bytes.length), bytes]);
}

export function concat(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function value(item: Metadata[string]): Uint8Array {
  if (typeof item === "string") return concat([uint32(8), text(item)]);
  if (typeof item === "boolean") return concat([uint32(7), Uint8Array.of(item ? 1 : 0)]);
  if (item instanceof Float32Array)
    return concat([uint32(9), uint32(6), uint64(item.length), new Uint8Array(item.buffer)]);
  if (typeof item !== "number")
    return concat([uint32(9), uint32(8), uint64(item.length), ...item.map(text)]);
  if (Number.isInteger(item) && item >= 0) return concat([uint32(4), uint32(item)]);
  return concat([uint32(6), new Uint8Array(Float32Array.of(item).buffer)]);
}

export function ggufBytes(
  metadata: Metadata,
  tensors: readonly TensorSpec[] = [],
  lies: Lies = {},
): Uint8Array {
  const align = (size: number) => Math.ceil(size / 32) * 32;
  const infos: Uint8Array[] = [];
  const data: Uint8Array[] = [];
  let offset = 0;
  for (const tensor of tensors) {
    infos.push(
      text(tensor.name),
      uint32(tensor.shape.length),
      ...tensor.shape.toReversed().map(uint64),
      uint32(tensor.typeId ?? GGML_TYPES[tensor.type].id),
      uint64(tensor.offset ?? offset),
    );
    const padded = new Uint8Array(align(tensor.data.length));
    padded.set(tensor.data);
    data.push(padded);
    offset += padded.length;
  }
  const entries = Object.entries(metadata);
  const header = concat([
    new TextEncoder().encode("GGUF"),
    uint32(lies.version ?? 3),
    uint64(lies.tensorCount ?? tensors.length),
    uint64(lies.metadataCount ?? entries.length),
    ...(lies.rawMetadata
      ? [lies.rawMetadata]
      : entries.flatMap(([key, item]) => [text(key), value(item)])),
    ...infos,
  ]);
  const padding = new Uint8Array(align(header.length) - header.length);
  return concat([header, padding, ...data]);
}

/** A float32 tensor. */
export function float32Tensor(name: string, shape: readonly number[], data: ArrayLike<number>) {
  const values = Float32Array.from(data);
  return { name, type: "F32", shape, data: new Uint8Array(values.buffer) } as const;
}
