// What a model cannot be opened with, told before weights are read.

import { type Fault, TunesmithError } from "../errors.ts";
import {
  type BoundMethod,
  bindMethod,
  type IdleFault,
  idleOptions,
  type MethodOptions,
  type ModelDescription,
  unfittingRanks,
  unmatchedNames,
} from "../methods/index.ts";
import type { Arithmetic } from "./weights/integer-operands.ts";
import { isForRunning, MODEL_DTYPES, type ModelDtype } from "./weights/model-dtype.ts";
import type { AskedQuantization } from "./weights/quantized-weights.ts";

/** What is asked for beside a dtype. */
interface Asked {
  readonly method?: MethodOptions;
  readonly quantization?: AskedQuantization;
  readonly arithmetic?: Arithmetic;
}

/** @throws TunesmithError (config) for a dtype that there is not, and for what cannot be done in blocks */
export function checkDtype(
  dtype: ModelDtype,
  { method, quantization, arithmetic = "float32" }: Asked,
): void {
  if (!MODEL_DTYPES.includes(dtype))
    throw new TunesmithError("config", {
      where: "dtype",
      rule: `one of ${MODEL_DTYPES.join(", ")}`,
      seen: String(dtype),
      fix: "leave it out for weights as the file has them",
    });
  if (!isForRunning(dtype)) return;
  const rule = `dtype ${dtype} keeps weights in blocks, to run a model as it is or with an adapter`;
  const faults: Fault[] = [];
  const fault = (seen: string, fix: string) => faults.push({ where: "dtype", rule, seen, fix });
  if (method)
    fault(`method ${method.name}`, "train with method qlora, or leave dtype out; then run in q4");
  if (quantization?.type) fault(`quantization: ${quantization.type}`, "leave one of the two out");
  if (arithmetic !== "float32") fault(`arithmetic: ${arithmetic}`, "leave one of the two out");
  if (faults.length > 0) throw new TunesmithError("config", faults);
}

/**
 * A method that somebody asks for, bound. What is put up with in the files of adapters is refused here.
 * @throws TunesmithError (config) with every option that has no effect, or none on this model; for what
 *   does not fit the model; with every rank that a matrix has no room for
 */
export function bindNewMethod(options: MethodOptions, model: ModelDescription): BoundMethod {
  refuse([...idleOptions(options), ...unmatchedNames(options, model)]);
  const method = bindMethod(options, model);
  refuse(unfittingRanks(method.ranks ?? []));
  return method;
}

function refuse(found: readonly IdleFault[]): void {
  const faults = found.map(({ option, ...fault }) => ({ where: `method.${option}`, ...fault }));
  if (faults.length > 0) throw new TunesmithError("config", faults);
}
