import { readFileSync, writeFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { TunesmithError } from "../../errors.ts";
import {
  expectFault,
  safetensorsBytes,
  seededRandom,
  temporaryFile,
  temporaryFolder,
} from "../testing/files.ts";
import { openSafetensors } from "./safetensors.ts";
import { readFloat32 } from "./safetensors-float32.ts";
import { writeSafetensors } from "./safetensors-writer.ts";

const entry = (data_offsets: unknown, shape: unknown = [2], dtype: unknown = "F32") => ({
  dtype,
  shape,
  data_offsets,
});

async function open(bytes: Uint8Array): Promise<void> {
  const file = await openSafetensors(temporaryFile("x.safetensors", bytes));
  await file.close();
}

describe("reading", () => {
  it("gives absolute places, metadata and bytes", async () => {
    const bytes = safetensorsBytes(
      { __metadata__: { format: "pt" }, b: entry([8, 12], [2], "BF16"), a: entry([0, 8]) },
      12,
    );
    const data = bytes.length - 12;
    bytes.set(new Uint8Array(new Float32Array([1.5, -2]).buffer), data);
    bytes.set([0x80, 0x3f, 0x00, 0xc0], data + 8);
    const file = await openSafetensors(temporaryFile("x.safetensors", bytes));
    expect(file.metadata).toEqual({ format: "pt" });
    expect(file.tensors.get("b")).toEqual({
      name: "b",
      dtype: "BF16",
      shape: [2],
      byteOffset: data + 8,
      byteLength: 4,
    });
    const a = new Float32Array(2);
    await readFloat32(file, "a", a);
    expect([...a]).toEqual([1.5, -2]);
    await readFloat32(file, "b", a);
    expect([...a]).toEqual([1, -2]);
    const raw = new Uint8Array(2);
    await file.readInto("b", raw, 2);
    expect([...raw]).toEqual([0x00, 0xc0]);
    await expect(file.readInto("b", raw, 3)).rejects.toThrow(RangeError);
    await expectFault(file.readInto("bb", raw), /nearest is "b"/);
    await file.close();
  });

  it("accepts empty tensors and scalars", async () => {
    await open(safetensorsBytes({ none: entry([0, 0], [0, 4]), one: entry([0, 4], []) }, 4));
  });
});

describe("a header that lies is refused", () => {
  const cases: [string, Uint8Array, RegExp][] = [
    ["no header", new Uint8Array(4), /starts with 8 bytes/],
    ["length beyond the file", safetensorsBytes("{}", 0, 3), /must lie within the file/],
    ["absurd length", safetensorsBytes("{}", 0, 2 ** 52), /must lie within the file/],
    ["not JSON", safetensorsBytes("{nope"), /valid JSON/],
    ["an array", safetensorsBytes("[]"), /begin with "\{"/],
    ["not UTF-8", Uint8Array.of(3, 0, 0, 0, 0, 0, 0, 0, 0x7b, 0xff, 0x7d), /UTF-8/],
    ["a number as entry", safetensorsBytes({ a: 1 }), /entry is an object/],
    ["unknown dtype", safetensorsBytes({ a: entry([0, 8], [2], "F31") }, 8), /dtype is one of/],
    ["dtype of Object", safetensorsBytes({ a: entry([0, 8], [2], "toString") }, 8), /dtype is/],
    ["negative shape", safetensorsBytes({ a: entry([0, 8], [-2]) }, 8), /whole numbers/],
    ["fractional shape", safetensorsBytes({ a: entry([0, 8], [0.5, 4]) }, 8), /whole numbers/],
    ["overflowing shape", safetensorsBytes({ a: entry([0, 8], [2 ** 40, 2 ** 40]) }, 8), /agree/],
    ["shape against bytes", safetensorsBytes({ a: entry([0, 8], [3]) }, 8), /needs 12 bytes/],
    ["end before begin", safetensorsBytes({ a: entry([8, 0]) }, 8), /before they end/],
    ["three offsets", safetensorsBytes({ a: entry([0, 4, 8]) }, 8), /two whole numbers/],
    ["truncated data", safetensorsBytes({ a: entry([0, 8]) }, 7), /truncated/],
    ["trailing bytes", safetensorsBytes({ a: entry([0, 8]) }, 9), /1 bytes more/],
    ["a gap", safetensorsBytes({ a: entry([0, 8]), b: entry([12, 20]) }, 20), /gaps or overlaps/],
    ["overlap", safetensorsBytes({ a: entry([0, 8]), b: entry([4, 12]) }, 12), /gaps or overlaps/],
    ["bad metadata", safetensorsBytes({ __metadata__: { a: 1 } }), /names to texts/],
    [
      "a name twice",
      safetensorsBytes(
        '{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"\\u0061":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}',
      ),
      /"a" twice/,
    ],
  ];
  it.each(cases)("%s", async (_, bytes, pattern) => {
    await expectFault(open(bytes), pattern);
  });

  it("whatever bytes are changed: a TunesmithError or a file that can be read", async () => {
    const folder = temporaryFolder();
    const path = `${folder}/good.safetensors`;
    await writeSafetensors(path, [
      { name: "weight", dtype: "F32", shape: [4, 3], data: new Float32Array(12) },
      { name: "bias", dtype: "F16", shape: [4], data: new Float32Array(4) },
    ]);
    const good = readFileSync(path);
    const random = seededRandom(7);
    let refused = 0;
    for (let round = 0; round < 400; round++) {
      const bytes = Uint8Array.from(good);
      for (let change = 0; change <= random() * 3; change++)
        bytes[Math.floor(random() * 150)] = Math.floor(random() * 256);
      const cut = random() < 0.2 ? Math.floor(random() * bytes.length) : bytes.length;
      writeFileSync(path, bytes.subarray(0, cut));
      try {
        await (await openSafetensors(path)).close();
      } catch (error) {
        if (!(error instanceof TunesmithError)) throw error;
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(200);
  });
});

it("says that a missing file is missing", async () => {
  await expectFault(openSafetensors("/nowhere/at/all.safetensors"), /no such file/);
});
