// What settings of bottleneck adapters contradict each other or the model, as a list of faults.

import { type Fault, TunesmithError } from "../../errors.ts";
import type { ModelDescription } from "../method.ts";
import type { BottleneckSettings } from "./bottleneck-options.ts";
import { bottleneckSites, bottleneckWidth } from "./bottleneck-sites.ts";

type Check = readonly [fails: boolean, fault: Fault];

/**
 * @param where the option's place in the recipe, for faults
 * @throws TunesmithError (config) with every fault
 */
export function checkBottlenecks(
  settings: BottleneckSettings,
  model: ModelDescription,
  where: string,
): void {
  const { layers, hiddenSize } = model.dimensions;
  const { reductionFactor, leaveOut, phm, phmDimension, phmSharedWeights } = settings;
  const sites = bottleneckSites(model, settings);
  const numbers = Array.from({ length: layers }, (_, layer) => layer);
  const beyond = leaveOut.find((layer) => layer >= layers);
  const lacking =
    typeof reductionFactor === "number" || reductionFactor.default !== undefined
      ? undefined
      : numbers.find((layer) => reductionFactor[layer] === undefined && !leaveOut.includes(layer));
  const unknown =
    typeof reductionFactor === "number"
      ? undefined
      : Object.keys(reductionFactor).find(
          (key) => key !== "default" && !numbers.some((layer) => String(layer) === key),
        );
  const undivided =
    phm && lacking === undefined
      ? sites
          .flatMap(({ layer }) => [hiddenSize, bottleneckWidth(reductionFactor, hiddenSize, layer)])
          .find((width) => width % phmDimension !== 0)
      : undefined;
  const isTight = settings.adapterResidualBeforeNorm && (!settings.normAfter || settings.parallel);
  const checks: readonly Check[] = [
    [
      beyond !== undefined,
      {
        where: `${where}.leaveOut`,
        rule: `layers are numbered from 0 to ${layers - 1}`,
        seen: String(beyond),
        fix: "name layers that the model has",
      },
    ],
    [
      sites.length === 0,
      {
        where: `${where}.afterAttention, afterFeedForward, leaveOut`,
        rule: "leave at least one adapter",
        seen: "none",
        fix: "set afterFeedForward: true, or leave fewer layers out",
      },
    ],
    [
      lacking !== undefined,
      {
        where: `${where}.reductionFactor`,
        rule: "has a factor for each layer, or a default",
        seen: `none for layer ${lacking}`,
        fix: "add default: 16",
      },
    ],
    [
      unknown !== undefined,
      {
        where: `${where}.reductionFactor`,
        rule: `its keys are layers from 0 to ${layers - 1}, and default`,
        seen: JSON.stringify(unknown),
        fix: "name layers that the model has",
      },
    ],
    [
      undivided !== undefined,
      {
        where: `${where}.phmDimension`,
        rule: "divides the hidden size and every bottleneck size",
        seen: `${phmDimension}, where a width is ${undivided}`,
        fix: "choose another reductionFactor, or a smaller phmDimension",
      },
    ],
    [
      phm && settings.init !== "bert",
      {
        where: `${where}.init`,
        rule: "hypercomplex products have a start of their own, that of init: bert",
        seen: settings.init,
        fix: "leave init out",
      },
    ],
    [
      phm && phmSharedWeights && typeof reductionFactor !== "number",
      {
        where: `${where}.phmSharedWeights`,
        rule: "weights that all layers share have one size",
        seen: "a reductionFactor by layer",
        fix: "use one number for reductionFactor",
      },
    ],
    [
      phm && phmSharedWeights && !settings.phmFactorizedWeights,
      {
        where: `${where}.phmSharedWeights`,
        rule: "shared weights are factorised",
        seen: "phmFactorizedWeights: false",
        fix: "leave phmFactorizedWeights out",
      },
    ],
    [
      isTight,
      {
        where: `${where}.adapterResidualBeforeNorm`,
        rule: "goes with normAfter, and with adapters that are not parallel",
        seen: settings.parallel ? "parallel: true" : "normAfter: false",
        fix: "leave adapterResidualBeforeNorm out",
      },
    ],
    [
      settings.invertsOutput && !settings.invertible,
      {
        where: `${where}.invertsOutput`,
        rule: "goes with an invertible adapter",
        seen: "invertible: false",
        fix: "set invertible: nice",
      },
    ],
  ];
  const faults = checks.filter(([fails]) => fails).map(([, fault]) => fault);
  if (faults.length > 0) throw new TunesmithError("config", faults);
}
