// What `config.json` says of weights that GPTQ or AWQ packed.

import { TunesmithError } from "../../errors.ts";
import { isJsonObject, type JsonObject } from "../json-file.ts";

/** How a checkpoint's words are laid out. */
export interface PackedLayout {
  readonly method: "gptq" | "awq";
  readonly bits: number;
  /** What zero points are stored less: GPTQ's first format takes 1 off. */
  readonly zeroOffset: 0 | 1;
}

/** Bits of a number, by method. */
const BITS = { gptq: [2, 3, 4, 8], awq: [4] } as const;

/**
 * How the weights are packed; undefined where `config.json` names neither GPTQ nor AWQ.
 * @throws TunesmithError (checkpoint) for other bits, and for layouts of one kernel
 */
export function packedLayout(config: JsonObject, folder: string): PackedLayout | undefined {
  const settings = config.quantization_config;
  if (!isJsonObject(settings)) return undefined;
  const { quant_method: method, bits = 4 } = settings;
  if (method !== "gptq" && method !== "awq") return undefined;
  const fault = (key: string, rule: string, seen: unknown) =>
    new TunesmithError("checkpoint", {
      where: `${folder}/config.json: quantization_config.${key}`,
      rule,
      seen: JSON.stringify(seen),
      fix: "use the unquantised model; model.quantization makes it small in memory",
    });
  const known: readonly unknown[] = BITS[method];
  if (!known.includes(bits))
    throw fault(
      "bits",
      `weights of ${method} that can be read have ${known.join(", ")} bits`,
      bits,
    );
  const layout = { method, bits: bits as number } as const;
  if (method === "awq") {
    const { version = "gemm" } = settings;
    if (String(version).toLowerCase() !== "gemm")
      throw fault("version", 'the layout of AWQ that can be read is "gemm"', version);
    return { ...layout, zeroOffset: 0 };
  }
  const { checkpoint_format: format = "gptq" } = settings;
  if (format !== "gptq" && format !== "gptq_v2")
    throw fault(
      "checkpoint_format",
      'formats of GPTQ that can be read are "gptq", "gptq_v2"',
      format,
    );
  return { ...layout, zeroOffset: format === "gptq" ? 1 : 0 };
}
