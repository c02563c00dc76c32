import { writeFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { TunesmithError } from "../../errors.ts";
import { expectFault, seededRandom, temporaryFile } from "../testing/files.ts";
import {
  concat,
  float32Tensor,
  ggufBytes,
  type Lies,
  text,
  uint32,
  uint64,
} from "../testing/gguf-builder.ts";
import { openGguf } from "./gguf.ts";

const open = (bytes: Uint8Array) => openGguf(temporaryFile("x.gguf", bytes));
const tensor = float32Tensor("a", [2, 3], [1, 2, 3, 4, 5, 6]);

it("reads metadata of every kind and tensors in PyTorch's order of dimensions", async () => {
  const file = await open(
    ggufBytes(
      {
        name: "tiny",
        flag: true,
        count: 7,
        ratio: -0.5,
        words: ["a", "", "ü"],
        scores: Float32Array.of(1, -2),
      },
      [tensor, float32Tensor("b", [1], [9])],
    ),
  );
  expect(Object.fromEntries(file.metadata)).toEqual({
    name: "tiny",
    flag: true,
    count: 7,
    ratio: -0.5,
    words: ["a", "", "ü"],
    scores: Float32Array.of(1, -2),
  });
  expect(file.tensors.get("a")).toMatchObject({ type: "F32", shape: [2, 3], byteLength: 24 });
  const bytes = new Uint8Array(4);
  await file.readInto("b", bytes);
  expect(new Float32Array(bytes.buffer)[0]).toBe(9);
  await file.readInto("a", bytes, 20);
  expect(new Float32Array(bytes.buffer)[0]).toBe(6);
  await expect(file.readInto("a", bytes, 21)).rejects.toThrow(RangeError);
  await file.close();
});

it("reads a vocabulary that is larger than one window of the header", async () => {
  const words = Array.from({ length: 90_000 }, (_, i) => `word number ${i}`);
  const file = await open(ggufBytes({ words, after: 5 }));
  expect((file.metadata.get("words") as string[]).join()).toBe(words.join());
  expect(file.metadata.get("after")).toBe(5);
  await file.close();
});

describe("a header that lies is refused", () => {
  const metadata = (...parts: Uint8Array[]): Lies => ({
    rawMetadata: concat([text("key"), ...parts]),
    metadataCount: 1n,
  });
  const lying = (lies: Lies) => ggufBytes({}, [tensor], lies);
  const cases: [string, Uint8Array, RegExp][] = [
    ["an empty file", new Uint8Array(0), /must lie within/],
    ["another file", new TextEncoder().encode("PK\u0003\u0004 and so on, long enough"), /GGUF/],
    ["version 1", lying({ version: 1 }), /version 1/],
    ["big-endian", lying({ version: 0x03000000 }), /little-endian/],
    ["many tensors", lying({ tensorCount: 2n ** 40n }), /room for its entries/],
    ["more tensors than 2^53", lying({ tensorCount: 2n ** 63n }), /possible number/],
    ["much metadata", lying({ metadataCount: 2n ** 50n }), /room for its entries/],
    ["a huge text", lying(metadata(uint32(8), uint64(2n ** 40n))), /at most 16777216/],
    ["a text beyond the end", lying(metadata(uint32(8), uint64(100_000))), /must lie within/],
    ["a huge array", lying(metadata(uint32(9), uint32(4), uint64(2n ** 45n))), /must lie within/],
    ["a huge text array", lying(metadata(uint32(9), uint32(8), uint64(2n ** 45n))), /header/],
    [
      "arrays without end",
      lying(metadata(uint32(9), ...Array(9).fill(concat([uint32(9), uint64(1)])))),
      /nest at most 4/,
    ],
    ["an unknown type", lying(metadata(uint32(99))), /type number 99/],
    [
      "a key twice",
      lying({
        rawMetadata: concat(Array(2).fill(concat([text("k"), uint32(0), Uint8Array.of(1)]))),
        metadataCount: 2n,
      }),
      /"k" twice/,
    ],
    ["a tensor beyond the end", ggufBytes({}, [{ ...tensor, shape: [2, 300] }]), /within the file/],
    ["overflowing shape", ggufBytes({}, [{ ...tensor, shape: [2 ** 50, 2 ** 50] }]), /within/],
    [
      "an offset beyond the end",
      ggufBytes({}, [{ ...tensor, offset: 2 ** 40 }]),
      /within the file/,
    ],
    ["five dimensions", ggufBytes({}, [{ ...tensor, shape: [1, 1, 1, 2, 3] }]), /1 to 4/],
    ["no dimension", ggufBytes({}, [{ ...tensor, shape: [] }]), /1 to 4/],
    ["part of a block", ggufBytes({}, [{ ...tensor, type: "Q8_0" }]), /whole blocks of 32/],
    ["IQ4_XS", ggufBytes({}, [{ ...tensor, typeId: 23 }]), /IQ4_XS[\s\S]*Q8_0/],
    ["a type of the future", ggufBytes({}, [{ ...tensor, typeId: 77 }]), /type number 77/],
    ["a tensor twice", ggufBytes({}, [tensor, tensor]), /named once/],
    [
      "overlapping tensors",
      ggufBytes({}, [tensor, { ...tensor, name: "b", offset: 8 }]),
      /do not overlap/,
    ],
    ["odd alignment", ggufBytes({ "general.alignment": 3 }, [tensor]), /power of two/],
    ["truncation", ggufBytes({}, [tensor]).subarray(0, -20), /within the file/],
  ];
  it.each(cases)("%s", async (_, bytes, pattern) => {
    await expectFault(open(bytes), pattern);
  });

  it("whatever bytes are changed: a TunesmithError or a file that can be read", async () => {
    const good = ggufBytes({ n: 4, s: "text", words: ["a", "b"] }, [
      tensor,
      float32Tensor("b", [1], [9]),
    ]);
    const path = temporaryFile("x.gguf", good);
    const random = seededRandom(3);
    let refused = 0;
    for (let round = 0; round < 400; round++) {
      const bytes = Uint8Array.from(good);
      for (let change = 0; change <= random() * 3; change++)
        bytes[Math.floor(random() * 220)] = Math.floor(random() * 256);
      const cut = random() < 0.2 ? Math.floor(random() * bytes.length) : bytes.length;
      try {
        writeFileSync(path, bytes.subarray(0, cut));
        await (await openGguf(path)).close();
      } catch (error) {
        if (!(error instanceof TunesmithError)) throw error;
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(150);
  });
});
