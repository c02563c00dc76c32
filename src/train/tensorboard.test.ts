import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { crc32c } from "./crc32c.ts";
import { openTensorboard } from "./tensorboard.ts";
import { useTemporaryFolders } from "./testing/helpers.ts";

const makeFolder = useTemporaryFolders();

it("computes the checksums of RFC 3720, B.4", () => {
  expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa);
  expect(crc32c(new Uint8Array(32).fill(0xff))).toBe(0x62a8ab43);
  expect(crc32c(Uint8Array.from({ length: 32 }, (_, i) => i))).toBe(0x46dd794e);
  expect(crc32c(new TextEncoder().encode("123456789"))).toBe(0xe3069283);
});

/** Splits a file into its messages by lengths alone, checking the checksums with the mask undone. */
function readRecords(bytes: Buffer): Buffer[] {
  const records: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = Number(bytes.readBigUInt64LE(at));
    const data = bytes.subarray(at + 12, at + 12 + length);
    expect(unmask(bytes.readUInt32LE(at + 8))).toBe(crc32c(bytes.subarray(at, at + 8)));
    expect(unmask(bytes.readUInt32LE(at + 12 + length))).toBe(crc32c(data));
    records.push(data);
    at += 16 + length;
  }
  return records;
}

function unmask(masked: number): number {
  const rotated = (masked - 0xa282ead8) >>> 0;
  return ((rotated >>> 17) | (rotated << 15)) >>> 0;
}

it("writes records that the format describes, byte for byte", async () => {
  const folder = await makeFolder();
  const file = await openTensorboard(folder, 5);
  await file.append(300, { "train/loss": 1.5 });
  await file.append(2 ** 40, { a: 0, b: 2 });
  await file.close();
  const [name] = await readdir(folder);
  expect(name).toMatch(/^events\.out\.tfevents\.\d{10}\./);
  const records = readRecords(await readFile(join(folder, name!)));
  // Every event begins with its wall time: key 0x09 and a double.
  const rest = records.map((record) => {
    expect(record[0]).toBe(0x09);
    expect(record.readDoubleLE(1)).toBeCloseTo(Date.now() / 1000, -2);
    return record.subarray(9).toString("hex");
  });
  const hex = (text: string) => Buffer.from(text).toString("hex");
  expect(rest).toEqual([
    `10001a0d${hex("brain.Event:2")}`,
    "10053a020801",
    // step 300, summary { value { tag: "train/loss" simple_value: 1.5 } }
    `10ac022a130a110a0a${hex("train/loss")}150000c03f`,
    `108080808080202a140a080a01${hex("a")}15000000000a080a01${hex("b")}1500000040`,
  ]);
});
