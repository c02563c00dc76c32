// The LoRAs that X-LoRA mixes: which layers they change, and their tensors as they are in their folders.

import { type Fault, TunesmithError } from "../../errors.ts";
import {
  type Adapter,
  expertKey,
  type JsonObject,
  readAdapter,
  readExpertConfig,
} from "../../hub/index.ts";
import { fromLoraConfig } from "../lora/lora-config.ts";
import type { LoraOptions } from "../lora/lora-options.ts";
import type { ModelDescription, ParameterSpec } from "../method.ts";
import { type LinearModule, patternValue, selectTargets } from "../targets.ts";
import { withoutStrangeTargets } from "../unmatched-names.ts";
import { isLoraMoe } from "./moe-lora-options.ts";

/** A LoRA beside one layer. */
export interface ExpertSite {
  /** [rank, in] */
  readonly a: ParameterSpec;
  /** [out, rank] */
  readonly b: ParameterSpec;
  readonly scaling: number;
}

/** One of the LoRAs. */
export interface Expert {
  readonly number: number;
  readonly config: JsonObject;
  readonly dropout: number;
  /** By the path of the linear module. */
  readonly sites: ReadonlyMap<string, ExpertSite>;
  readonly parameters: readonly ParameterSpec[];
  /** As in `BoundMethod`. */
  readonly checkFile: () => Promise<void>;
}

export interface ExpertSource {
  readonly folder: string;
  readonly number: number;
  readonly isTrained: boolean;
}

/** @throws TunesmithError for a folder without a LoRA, or with one that adds more than products */
export function xLoraExpert(source: ExpertSource, model: ModelDescription): Expert {
  const { folder, number, isTrained } = source;
  const config = readExpertConfig(folder);
  const where = `method.adapters.${number} (${folder})`;
  if (isLoraMoe(config)) throw unmixable([{ where, seen: "a mixture of experts (LoRAMoE)" }]);
  const options = withoutStrangeTargets(fromLoraConfig(config, folder), model);
  const modules = selectTargets(model, {
    targets: options.targets!,
    exclude: options.exclude,
    layers: options.layersToTransform,
    embeddings: true,
  });
  const faults = besides(options, modules).map((seen) => ({ where, seen }));
  if (faults.length > 0) throw unmixable(faults);
  const first = fromFolder(source);
  const sites = modules.map((module): [string, ExpertSite] => [
    module.path,
    expertSite(module, options, number, (spec) => ({
      ...spec,
      ...(isTrained ? {} : { frozen: true }),
      initial: () => first(spec.key, spec.shape),
    })),
  ]);
  const parameters = sites.flatMap(([, { a, b }]) => [a, b]);
  return {
    number,
    config,
    dropout: options.dropout ?? 0,
    sites: new Map(sites),
    parameters,
    async checkFile() {
      for (const { key, shape } of parameters) await first(key, shape);
    },
  };
}

function expertSite(
  { path, inputSize, outputSize }: LinearModule,
  options: LoraOptions,
  number: number,
  stored: (spec: Pick<ParameterSpec, "key" | "shape">) => ParameterSpec,
): ExpertSite {
  const { rankPattern = {}, alphaPattern = {}, rslora } = options;
  const rank = patternValue(rankPattern, path, "rank_pattern") ?? options.rank!;
  const alpha = patternValue(alphaPattern, path, "alpha_pattern") ?? options.alpha!;
  const key = (matrix: string) =>
    expertKey(number, `base_model.model.${path}.lora_${matrix}.weight`);
  return {
    a: stored({ key: key("A"), shape: [rank, inputSize] }),
    b: stored({ key: key("B"), shape: [outputSize, rank] }),
    scaling: alpha / (rslora ? Math.sqrt(rank) : rank),
  };
}

/** What a LoRA has besides products beside layers of the blocks, in words. */
function besides(options: LoraOptions, modules: readonly LinearModule[]): string[] {
  const { dora, loraBias, bias = "none", modulesToSave = [], trainableTokens, init } = options;
  const outer = modules.find(({ kind }) => kind !== "linear");
  const found: Record<string, unknown> = {
    "use_dora: true": dora,
    "lora_bias: true": loraBias,
    [`bias: ${bias}`]: bias !== "none",
    [`modules_to_save: ${modulesToSave.join(", ")}`]: modulesToSave.length > 0,
    trainable_token_indices: trainableTokens,
    [`init_lora_weights: ${init}, which changes the base`]: init === "pissa" || init === "olora",
    [`${outer?.path} among its target_modules`]: outer,
  };
  return Object.keys(found).filter((words) => found[words]);
}

function unmixable(found: readonly Pick<Fault, "where" | "seen">[]): TunesmithError {
  const told = {
    rule: "an adapter that X-LoRA mixes adds products B A to layers inside the blocks, and nothing else",
    fix: "train it with method: lora on such layers alone, without these options",
  };
  return new TunesmithError(
    "config",
    found.map((fault) => ({ ...fault, ...told })),
  );
}

/** Tensors of an expert's folder, which is read once. */
function fromFolder({ folder, number }: ExpertSource) {
  let file: Promise<Adapter> | undefined;
  return async (key: string, shape: readonly number[]): Promise<Float32Array> => {
    file ??= readAdapter(folder);
    const own = key.slice(expertKey(number, "").length);
    const tensor = (await file).tensors.get(own);
    // Trained experts change their values, and the file's are read for each model.
    if (tensor?.shape.join() === shape.join()) return tensor!.data.slice();
    throw new TunesmithError("checkpoint", {
      where: `${folder}: ${own}`,
      rule: `the base model asks for a tensor of shape [${shape.join(", ")}]`,
      seen: tensor ? `[${tensor.shape.join(", ")}]` : "no such tensor",
      fix: "mix adapters of this base",
    });
  };
}
