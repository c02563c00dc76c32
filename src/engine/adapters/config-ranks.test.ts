import { expect, it } from "vitest";
import type { RankUse } from "../../methods/index.ts";
import { type Misfit, ranksBesideConfig } from "./config-ranks.ts";

const use = (path: string, option = "rank", rank = 8): RankUse => ({
  kind: "rank",
  option,
  rank,
  path,
  shape: [32, 64],
  largest: 32,
});
const misfit = (key: string, asked: number[], seen: number[]): Misfit => ({ key, asked, seen });

const A = "base_model.model.layers.0.q_proj.lora_A.weight";
const B = "base_model.model.layers.0.q_proj.lora_B.weight";
const uses = [
  use("layers.0.q_proj"),
  use("layers.0.k_proj", "rankPattern", 2),
  use("layers.0.v_proj", "initialRank", 12),
];
const told = (...misfits: Misfit[]) => ranksBesideConfig(misfits, uses, "./mine");

it("tells tensors of another rank by the key that says theirs", () => {
  const { faults, others } = told(
    misfit(A, [8, 64], [4, 64]),
    misfit(B, [32, 8], [32, 6]),
    misfit("base_model.model.layers.0.k_proj.lora_A.weight", [2, 64], [8, 64]),
    misfit("base_model.model.layers.0.v_proj.lora_E", [12, 1], [5, 1]),
  );
  expect(others).toEqual([]);
  expect(faults.map(({ where, seen }) => `${where} | ${seen}`)).toEqual([
    `./mine/adapter_config.json: r | 8, and tensors of rank 4, 6: ${A} and 1 more`,
    "./mine/adapter_config.json: rank_pattern | 2, and tensors of rank 8: base_model.model.layers.0.k_proj.lora_A.weight",
    "./mine/adapter_config.json: init_r | 12, and tensors of rank 5: base_model.model.layers.0.v_proj.lora_E",
  ]);
});

it("leaves other sizes to another base, whether or not the rank is another too", () => {
  const wide = misfit(A, [8, 64], [8, 96]);
  const both = misfit(B, [32, 8], [48, 4]);
  const elsewhere = misfit("base_model.model.layers.10.q_proj.lora_A.weight", [8, 64], [4, 64]);
  expect(told(wide, both, elsewhere)).toEqual({ faults: [], others: [wide, both, elsewhere] });
});
