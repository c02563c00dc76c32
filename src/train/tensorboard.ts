// TensorBoard event files: records of length, masked checksum and a small protobuf message, written by
// hand because three kinds of message are all that a scalar curve needs.
// Format: tensorflow/core/lib/io/record_writer.h, tensorflow/core/util/event.proto

import { open } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { makeFolder } from "../hub/index.ts";
import { crc32c } from "./crc32c.ts";

export interface TensorboardFile {
  /** Adds one point to each named curve. */
  append(step: number, scalars: Readonly<Record<string, number>>): Promise<void>;
  close(): Promise<void>;
}

/**
 * Begins a new event file in `folder`. `firstStep` is the first step that it will hold: TensorBoard
 * then forgets what earlier files say of that step and later, as after a resume.
 */
export async function openTensorboard(folder: string, firstStep: number): Promise<TensorboardFile> {
  await makeFolder(folder);
  const now = Date.now() / 1000;
  const stamp = String(Math.floor(now)).padStart(10, "0");
  const host = hostname().replace(/[^\w.-]/g, "_");
  const name = `events.out.tfevents.${stamp}.${host}.${process.pid}.${process.hrtime.bigint()}`;
  const file = await open(join(folder, name), "ax");
  const write = (event: Uint8Array) => file.appendFile(encodeRecord(event));
  try {
    await write(encodeEvent(now, 0, text(EVENT.fileVersion, "brain.Event:2")));
    await write(encodeEvent(now, firstStep, message(EVENT.sessionLog, varint(1, SESSION_START))));
  } catch (error) {
    await file.close();
    throw error;
  }
  return {
    async append(step, scalars) {
      const values = Object.entries(scalars).map(([tag, value]) =>
        message(1, concat(text(SUMMARY_VALUE.tag, tag), float(SUMMARY_VALUE.simpleValue, value))),
      );
      const summary = message(EVENT.summary, concat(...values));
      await write(encodeEvent(Date.now() / 1000, step, summary));
    },
    close: () => file.close(),
  };
}

// Field numbers of event.proto and summary.proto.
const EVENT = { wallTime: 1, step: 2, fileVersion: 3, summary: 5, sessionLog: 7 } as const;
const SUMMARY_VALUE = { tag: 1, simpleValue: 2 } as const;
const SESSION_START = 1;

function encodeEvent(wallTime: number, step: number, what: Uint8Array): Uint8Array {
  return concat(double(EVENT.wallTime, wallTime), varint(EVENT.step, step), what);
}

/** uint64 length, its checksum, the data, its checksum; all little-endian. */
function encodeRecord(data: Uint8Array): Uint8Array {
  const record = new Uint8Array(8 + 4 + data.length + 4);
  const view = new DataView(record.buffer);
  view.setBigUint64(0, BigInt(data.length), true);
  view.setUint32(8, maskedChecksum(record.subarray(0, 8)), true);
  record.set(data, 12);
  view.setUint32(12 + data.length, maskedChecksum(data), true);
  return record;
}

/** Rotated and shifted, so that a checksum of data that holds checksums stays a good one. */
function maskedChecksum(data: Uint8Array): number {
  const sum = crc32c(data);
  return (((sum >>> 15) | (sum << 17)) + 0xa282ead8) >>> 0;
}

// Protobuf wire format: a key (field number, wire type), then the value.
const WIRE = { varint: 0, fixed64: 1, bytes: 2, fixed32: 5 } as const;

function key(field: number, wire: keyof typeof WIRE): number {
  return (field << 3) | WIRE[wire];
}

function rawVarint(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  // Division instead of a shift: steps may exceed 32 bits.
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80);
  bytes.push(rest);
  return bytes;
}

function varint(field: number, value: number): Uint8Array {
  return Uint8Array.from([key(field, "varint"), ...rawVarint(value)]);
}

function double(field: number, value: number): Uint8Array {
  const bytes = new Uint8Array(9);
  bytes[0] = key(field, "fixed64");
  new DataView(bytes.buffer).setFloat64(1, value, true);
  return bytes;
}

function float(field: number, value: number): Uint8Array {
  const bytes = new Uint8Array(5);
  bytes[0] = key(field, "fixed32");
  new DataView(bytes.buffer).setFloat32(1, value, true);
  return bytes;
}

function message(field: number, content: Uint8Array): Uint8Array {
  return concat(Uint8Array.from([key(field, "bytes"), ...rawVarint(content.length)]), content);
}

function text(field: number, content: string): Uint8Array {
  return message(field, new TextEncoder().encode(content));
}

function concat(...parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}
