import { join } from "node:path";
import { expect, it } from "vitest";
import { openCheckpoint } from "../../hub/index.ts";
import { architectureFor } from "../../models/index.ts";
import { loadWeights } from "./weights.ts";

const MODEL = join(import.meta.dirname, "../../../assets/embedded-model");

it("starts no read behind one that failed, and tells its fault", async () => {
  const checkpoint = await openCheckpoint(MODEL);
  const specs = architectureFor(checkpoint.config).weights;
  const begun: string[] = [];
  let underWay = 0;
  const failing = {
    ...checkpoint,
    async readFloat32Into(name: string, target: Float32Array) {
      begun.push(name);
      underWay++;
      await checkpoint.readFloat32Into(name, target);
      underWay--;
      if (name === specs[2]!.name) throw new Error("the disk is gone");
    },
  };
  await expect(loadWeights({ checkpoint: failing, specs, dtype: "float32" })).rejects.toThrow(
    "is gone",
  );
  expect(underWay).toBe(0);
  expect(begun.length).toBeLessThan(specs.length / 2);
  await checkpoint.close();
});
