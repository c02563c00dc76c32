// What a model cannot be opened with, told before weights are read.

import { type Fault, TunesmithError } from "../errors.ts";
import {
  idleOptions,
  type MethodOptions,
  type ModelDescription,
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

/** @throws TunesmithError (config) with every option that has no effect, or none on this model */
export function refuseIdleOptions(method: MethodOptions, model: ModelDescription): void {
  const faults = [...idleOptions(method), ...unmatchedNames(method, model)].map(
    ({ option, ...fault }) => ({ where: `method.${option}`, ...fault }),
  );
  if (faults.length > 0) throw new TunesmithError("config", faults);
}
