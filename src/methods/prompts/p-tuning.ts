// P-tuning (Liu et al. 2021): virtual tokens in front of every text, made from trained embeddings by a
// small network. Names and file format are those of PEFT's `PromptEncoderConfig`.

import { z } from "zod";
import { type Fault, TunesmithError } from "../../errors.ts";
import type { JsonObject } from "../../hub/index.ts";
import { add, concat, linear, relu, type Tensor } from "../../tensor/index.ts";
import type {
  BoundMethod,
  MethodDefinition,
  MethodScope,
  ModelDescription,
  ParameterSpec,
} from "../method.ts";
import { completeOptions, count, derived } from "../option-schema.ts";
import { dense } from "../parts/dense-layer.ts";
import { normalSpec, uniformSpec } from "../parts/initial-values.ts";
import { fromPeftConfig, type PeftLayout } from "../peft-format.ts";
import { lstm } from "./lstm.ts";
import type { PromptOptions } from "./prompt.ts";
import {
  asTensors,
  checkVirtualTokens,
  denseLayer,
  encoderKey,
  ONLY_PROMPT,
  PROMPT_KEY,
  promptConfig,
  virtualTokens,
} from "./prompt-learning.ts";

const USUAL_LAYERS = 2;

const pTuningSchema = z.strictObject({
  name: z
    .literal("p-tuning")
    .describe("Virtual tokens that a small network makes from embeddings (Liu et al. 2021)."),
  virtualTokens,
  encoder: z
    .enum(["mlp", "lstm"])
    .default("mlp")
    .describe("That network: three linear layers, or a bidirectional LSTM in front of two."),
  encoderSize: count.optional().describe("Its width.").meta(derived("the model's hidden size")),
  encoderLayers: count.default(USUAL_LAYERS).describe("Layers of the LSTM."),
  encoderDropout: z
    .number()
    .min(0)
    .lt(1)
    .default(0)
    .describe("Dropout between the layers of the LSTM."),
});

export type PTuningOptions = z.input<typeof pTuningSchema>;
type Settings = Required<z.output<typeof pTuningSchema>>;

const layout: PeftLayout = {
  type: "P_TUNING",
  keys: {
    virtualTokens: "num_virtual_tokens",
    encoder: "encoder_reparameterization_type",
    encoderSize: "encoder_hidden_size",
    encoderLayers: "encoder_num_layers",
    encoderDropout: "encoder_dropout",
  },
  only: ONLY_PROMPT,
};

/** A network from the embeddings [tokens, width] to the virtual tokens of that shape. */
interface Encoder {
  readonly parameters: readonly ParameterSpec[];
  readonly encode: (x: Tensor, scope: MethodScope) => Tensor;
}

/** @throws TunesmithError (config) for options that contradict each other or the model */
function bindPTuning(given: PTuningOptions, model: ModelDescription): BoundMethod {
  const options = completeOptions(pTuningSchema, given);
  const { hiddenSize: width, heads } = model.dimensions;
  const settings: Settings = { ...options, encoderSize: options.encoderSize ?? width };
  const { virtualTokens: tokens } = settings;
  checkVirtualTokens(tokens, model);
  checkEncoderOptions(settings);
  const encoder = ENCODERS[settings.encoder](width, settings);
  const embedding = normalSpec(encoderKey("embedding.weight"), [tokens, width]);
  const parameters = [embedding, ...encoder.parameters];
  const states = (scope: MethodScope) => encoder.encode(scope.parameter(embedding), scope);
  return {
    name: "p-tuning",
    parameters,
    replaces: new Map(),
    virtualTokens: { count: tokens, states },
    unmergeable: "virtual tokens, which no weight can stand for",
    saved: {
      config: promptConfig(
        layout,
        { ...settings, encoder: settings.encoder.toUpperCase() },
        model,
        { width, heads },
      ),
      computed: (scope) => new Map([[PROMPT_KEY, states(scope)]]),
      encoder: (values) => asTensors(parameters, values),
      read: (_, tensors = new Map()) => tensors,
    },
  };
}

function checkEncoderOptions({ encoder, encoderLayers, encoderDropout }: Settings): void {
  const faults: Fault[] = [];
  const isLstm = encoder === "lstm";
  const refuse = (where: string, rule: string, seen: number) =>
    faults.push({ where: `method.${where}`, rule, seen: String(seen), fix: "leave it out" });
  if (!isLstm && encoderLayers !== USUAL_LAYERS)
    refuse("encoderLayers", "is for encoder: lstm; an mlp has its three layers", encoderLayers);
  if (!isLstm && encoderDropout > 0)
    refuse("encoderDropout", "is for encoder: lstm; an mlp has none", encoderDropout);
  if (isLstm && encoderLayers === 1 && encoderDropout > 0)
    refuse("encoderDropout", "lies between layers, so it takes two of them", encoderDropout);
  if (faults.length > 0) throw new TunesmithError("config", faults);
}

const ENCODERS: Readonly<
  Record<Settings["encoder"], (width: number, settings: Settings) => Encoder>
> = {
  mlp(width, { encoderSize: size }) {
    const layers = [
      denseLayer("mlp_head.0", width, size),
      denseLayer("mlp_head.2", size, size),
      denseLayer("mlp_head.4", size, width),
    ] as const;
    return {
      parameters: layers.flatMap(({ weight, bias }) => [weight, bias]),
      encode: (x, scope) =>
        layers.reduce((y, layer, i) => dense(i === 0 ? y : relu(y), layer, scope), x),
    };
  },
  lstm(width, { encoderSize: size, encoderLayers, encoderDropout }) {
    const layers = Array.from({ length: encoderLayers }, (_, index) =>
      ["", "_reverse"].map((direction) =>
        recurrentLayer(`l${index}${direction}`, index === 0 ? width : 2 * size, size),
      ),
    );
    const head = [
      denseLayer("mlp_head.0", 2 * size, 2 * size),
      denseLayer("mlp_head.2", 2 * size, width),
    ] as const;
    return {
      parameters: [
        ...layers.flat().flatMap((specs) => Object.values(specs)),
        ...head.flatMap(({ weight, bias }) => [weight, bias]),
      ],
      encode(x, scope) {
        const read = layers.reduce((y, directions, index) => {
          const site = encoderKey(`lstm_head.l${index}`);
          const dropped = index === 0 ? y : scope.dropout(y, encoderDropout, site);
          const both = directions.map((specs, direction) =>
            readSequence(dropped, specs, direction === 1, scope),
          );
          return concat(both, 1);
        }, x);
        return dense(relu(dense(read, head[0], scope)), head[1], scope);
      },
    };
  },
};

/** One direction of one layer of PyTorch's LSTM. */
interface RecurrentLayer {
  readonly inputWeight: ParameterSpec;
  readonly hiddenWeight: ParameterSpec;
  readonly inputBias: ParameterSpec;
  readonly hiddenBias: ParameterSpec;
}

function recurrentLayer(name: string, inputs: number, size: number): RecurrentLayer {
  const spec = (kind: string, ...rest: number[]) =>
    uniformSpec(encoderKey(`lstm_head.${kind}_${name}`), [4 * size, ...rest], size);
  return {
    inputWeight: spec("weight_ih", inputs),
    hiddenWeight: spec("weight_hh", size),
    inputBias: spec("bias_ih"),
    hiddenBias: spec("bias_hh"),
  };
}

function readSequence(
  x: Tensor,
  { inputWeight, hiddenWeight, inputBias, hiddenBias }: RecurrentLayer,
  backwards: boolean,
  { parameter }: MethodScope,
): Tensor {
  const bias = add(parameter(inputBias), parameter(hiddenBias));
  const projected = add(linear(x, parameter(inputWeight)), bias);
  return lstm(projected, parameter(hiddenWeight), backwards);
}

/**
 * A prompt without its encoder is one for prompt tuning: what PEFT saves, and what is left to train.
 * @throws TunesmithError (checkpoint) for settings that are not implemented
 */
function fromPTuningConfig(
  config: JsonObject,
  folder: string,
  hasEncoder: boolean,
): PTuningOptions | PromptOptions {
  const encoder = String(config.encoder_reparameterization_type ?? "MLP").toLowerCase();
  const known = { ...config, encoder_reparameterization_type: encoder };
  const options = fromPeftConfig(pTuningSchema, layout, known, folder);
  if (!hasEncoder) return { name: "prompt", virtualTokens: options.virtualTokens };
  // PEFT has these two ignored by an MLP, whatever they are.
  if (encoder === "mlp") return { ...options, encoderLayers: undefined, encoderDropout: undefined };
  return options;
}

export const pTuning = {
  schema: pTuningSchema,
  learningRate: 1e-3,
  describe: ({ virtualTokens: tokens = 20, encoder = "mlp" }) =>
    `P-tuning, ${tokens} virtual tokens by an ${encoder.toUpperCase()}`,
  bind: bindPTuning,
  peft: { type: layout.type, options: fromPTuningConfig },
} satisfies MethodDefinition<PTuningOptions>;
