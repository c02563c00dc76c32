// EVA (Paischer et al. 2024, "One Initialization to Rule them All"): A starts as the directions in which
// the inputs of a layer vary most, and layers whose inputs vary in more of them get higher ranks, from
// those that have less use for them. The procedure is PEFT's (`peft/tuners/lora/eva.py`).

import { TunesmithError } from "../../errors.ts";
import type { DenseMatrix, MatrixProducts } from "../../runtime/linear-algebra/dense-matrix.ts";
import type { DataProbe, Decision, ModelDescription } from "../method.ts";
import {
  type IncrementalSvd,
  incrementalSvds,
  type PrincipalDirections,
} from "../parts/incremental-svd.ts";
import { type LinearModule, patternValue, refuseOutput, selectTargets } from "../targets.ts";
import { evaSettings } from "./eva-options.ts";
import type { CompleteLora } from "./lora-options.ts";

/** Modules with the same input, the first of them in the model's order. */
interface Group {
  readonly paths: readonly string[];
  readonly count: number;
  readonly svd: IncrementalSvd;
  /** Whether each direction stayed where it was with the newest batch. */
  stays: readonly boolean[];
}

/** Batches after which directions that still move are not waited for. */
const MOST_BATCHES = 1000;

/**
 * The look at data that EVA needs.
 * @throws TunesmithError (config) for targets that it cannot look at, or ranks that are too high
 */
export function evaProbe(
  options: CompleteLora,
  model: ModelDescription,
  products: (matrix: DenseMatrix) => MatrixProducts,
): DataProbe | undefined {
  const { targets, exclude, layersToTransform: layers } = options;
  const { evaRho: rho, evaTau: tau, ...settings } = evaSettings(options);
  const selected = selectTargets(model, { targets, exclude, layers, embeddings: true });
  refuseOutput(model, selected, "init: eva");
  const modules = selected.filter(({ kind }) => kind === "linear");
  refuseExperts(model, modules);
  if (modules.length === 0) return undefined; // an embedding starts as it always does
  const rankOf = (path: string) =>
    patternValue(options.rankPattern, path, "method.rankPattern") ?? options.rank;
  const alphaOf = (path: string) =>
    patternValue(options.alphaPattern, path, "method.alphaPattern") ?? options.alpha;
  const mostOf = (path: string) => roundHalfToEven(rankOf(path) * rho);
  checkRanks(modules, mostOf);
  const place = new Map(modules.map(({ path }, i) => [path, i]));
  const budget = modules.reduce((sum, { path }) => sum + rankOf(path), 0);

  const newSvd = incrementalSvds(products);
  const groups = new Map<string, Group>();
  let ranks: ReadonlyMap<string, number> | undefined;
  let batches = 0;
  const isSettled = ({ paths, count, stays }: Group) => {
    const needed = ranks?.get(paths[0]!) ?? count;
    return needed === 0 || (stays.length > 0 && stays.slice(0, needed).every(Boolean));
  };
  const groupOf = (given: readonly string[], width: number): Group => {
    const paths = [...given].sort((a, b) => place.get(a)! - place.get(b)!);
    let group = groups.get(paths[0]!);
    if (!group) {
      const count = Math.max(...paths.map(mostOf));
      group = { paths, count, svd: newSvd(width, count), stays: [] };
      groups.set(paths[0]!, group);
    }
    return group;
  };
  const inOrder = () =>
    [...groups.values()].sort((a, b) => place.get(a.paths[0]!)! - place.get(b.paths[0]!)!);

  return {
    modules: new Set(place.keys()),
    onlyLabelled: settings.evaUseLabelMask,
    async see(paths, input) {
      const group = groupOf(paths, input.columns);
      if (isSettled(group) || input.rows < group.count) return;
      const before = group.svd.found;
      await group.svd.add(input);
      if (before.values.length > 0) group.stays = similar(before, group.svd.found, tau);
    },
    settle() {
      const all = inOrder();
      if (all.every(({ svd }) => svd.found.values.length > 0)) ranks = redistribute(all, budget);
      if (++batches === MOST_BATCHES) throw unsettled(tau);
      const settled = all.filter(isSettled).reduce((sum, { paths }) => sum + paths.length, 0);
      return { settled, modules: modules.length };
    },
    endPass() {
      const short = inOrder().find(({ svd }) => svd.found.values.length === 0);
      if (short || groups.size === 0) throw tooFewPositions(short, settings.evaUseLabelMask);
    },
    decide(): Decision {
      const values = new Map<string, Float32Array>();
      const rankPattern: Record<string, number> = {};
      const alphaPattern: Record<string, number> = {};
      const used: string[] = [];
      const note = (path: string, rank: number, alpha: number) => {
        used.push(path);
        if (rank !== options.rank) rankPattern[path] = rank;
        if (alpha !== options.alpha) alphaPattern[path] = alpha;
      };
      const found = new Map(
        [...groups.values()].flatMap(({ paths, svd }) => paths.map((path) => [path, svd.found])),
      );
      for (const { path, kind } of selected) {
        const rank = kind === "linear" ? ranks!.get(path)! : rankOf(path);
        if (rank === 0) continue;
        note(
          path,
          rank,
          alphaOf(path) * (settings.evaAdjustScalingFactors ? rank / rankOf(path) : 1),
        );
        if (kind === "linear")
          values.set(
            `base_model.model.${path}.lora_A.weight`,
            leading(found.get(path)!, rank, settings.evaWhiten),
          );
      }
      // What has no rank is no target: the rest is named one by one, as PEFT does.
      const named = used.length < selected.length ? { targets: used } : {};
      return { options: { ...named, rankPattern, alphaPattern }, values };
    },
  };
}

/** Python's rounding, by which PEFT finds the highest rank. */
function roundHalfToEven(value: number): number {
  const below = Math.floor(value);
  return value - below === 0.5 ? below + (below % 2) : Math.round(value);
}

/** Which directions are where they were, by the cosine between the two. */
function similar(
  { directions: before }: PrincipalDirections,
  { directions: after }: PrincipalDirections,
  tau: number,
): boolean[] {
  return after.map((direction, k) => {
    const [dot, isNothing] = [overlap(direction, before[k]!), overlap(direction, direction) === 0];
    return isNothing || dot >= tau;
  });
}

const overlap = (a: Float64Array, b: Float64Array) =>
  a.reduce((sum, value, i) => sum + value * b[i]!, 0);

/**
 * The `budget` largest shares of variance among all modules' directions, a rank for each. Among modules
 * with the same input the first has the highest, so that what it has shown suffices for all.
 */
function redistribute(groups: readonly Group[], budget: number): Map<string, number> {
  const first = groups.map((group) => ({ path: group.paths[0]!, group }));
  const others = groups.flatMap((group) => group.paths.slice(1).map((path) => ({ path, group })));
  const modules = [...first, ...others];
  const ranks = new Map(modules.map(({ path }) => [path, 0]));
  const shares = modules.flatMap(({ path, group }) =>
    group.svd.found.shares.map((share) => ({ path, share })),
  );
  shares.sort((a, b) => b.share - a.share);
  for (const { path } of shares.slice(0, budget)) ranks.set(path, ranks.get(path)! + 1);
  for (const { path, group } of others) {
    const [own, leader] = [ranks.get(path)!, ranks.get(group.paths[0]!)!];
    if (leader < own) ranks.set(group.paths[0]!, own).set(path, leader);
  }
  return ranks;
}

/** A [rank, in]. */
function leading(found: PrincipalDirections, rank: number, whiten: boolean): Float32Array {
  const width = found.directions[0]!.length;
  const a = new Float32Array(rank * width);
  found.directions.slice(0, rank).forEach((direction, k) => {
    const divisor = whiten ? Math.sqrt(found.values[k]!) || 1 : 1;
    a.set(
      direction.map((x) => x / divisor),
      k * width,
    );
  });
  return a;
}

/** @throws TunesmithError (config) for experts, which see only the rows that are sent to them */
function refuseExperts({ blocks }: ModelDescription, modules: readonly LinearModule[]): void {
  const inside = modules.find(({ path }) =>
    blocks.some(({ experts }) => experts !== undefined && path.startsWith(`${experts}.`)),
  );
  if (!inside) return;
  throw new TunesmithError("config", {
    where: "method.init: eva",
    rule: "looks at inputs of layers that see every row",
    seen: `${inside.path}, in an expert`,
    fix: 'name the layers of attention (targets: ["q_proj", "v_proj"]), or use another init',
  });
}

/** @throws TunesmithError (config) for more directions than an input has */
function checkRanks(modules: readonly LinearModule[], mostOf: (path: string) => number): void {
  const faults = modules
    .filter(({ path, inputSize }) => mostOf(path) > inputSize)
    .map(({ path, inputSize }) => ({
      where: "method.evaRho",
      rule: "no layer can get a higher rank than its input has numbers",
      seen: `rank × evaRho = ${mostOf(path)} at ${path}, which has ${inputSize}`,
      fix: "use a lower rank or evaRho",
    }));
  if (faults.length > 0) throw new TunesmithError("config", faults.slice(0, 3));
}

const unsettled = (tau: number) =>
  new TunesmithError("config", {
    where: "method.evaTau",
    rule: `the directions of the layers' inputs settle within ${MOST_BATCHES} batches`,
    seen: `some that still move by more than a cosine of ${tau}`,
    fix: "use a lower evaTau, or a larger batch",
  });

const tooFewPositions = (group: Group | undefined, useLabelMask: boolean) =>
  new TunesmithError("data", {
    where: "method.init: eva",
    rule: "a batch shows as many positions as the highest rank a layer may get (rank × evaRho)",
    seen: group
      ? `no batch that has ${group.count} for ${group.paths[0]}`
      : "data without any batch",
    fix: `use larger batches (a recipe's train.batchSize), or a lower rank${useLabelMask ? ", or evaUseLabelMask: false" : ""}`,
  });
