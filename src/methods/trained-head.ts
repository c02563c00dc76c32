// A classifier's head is trained whatever the method is: it starts as noise. Adapters keep it as PEFT does
// for its task SEQ_CLS, as one of `modules_to_save`.

import { TunesmithError } from "../errors.ts";
import type { BoundMethod, MethodDefinition, ModelDescription } from "./method.ts";
import { trainedWeight } from "./saved-modules.ts";

type Options = { readonly name: string; readonly modulesToSave?: readonly string[] };

/** PEFT's name of what a model of this kind is for. */
export const taskType = ({ classifier }: Pick<ModelDescription, "classifier">): string =>
  classifier ? "SEQ_CLS" : "CAUSAL_LM";

/**
 * The method with the head trained besides.
 * @throws TunesmithError (config) for a method whose files have no place for whole modules
 */
export function bindWithHead(
  { schema, bind }: MethodDefinition<Options>,
  options: Options,
  model: ModelDescription,
): BoundMethod {
  const { outputPath, outputName } = model;
  if ("modulesToSave" in schema.shape) {
    const { modulesToSave = [] } = options;
    const isNamed = modulesToSave.includes(outputPath);
    return bind(
      isNamed ? options : { ...options, modulesToSave: [...modulesToSave, outputPath] },
      model,
    );
  }
  const method = bind(options, model);
  if (method.saved !== "checkpoint")
    throw new TunesmithError("config", {
      where: `method.name (${options.name})`,
      rule: "a classifier's head is saved with what is trained",
      seen: `${options.name}, whose files hold no whole modules`,
      fix: "use a method that has modulesToSave, such as lora, or full",
    });
  if (method.replaces.has(outputName)) return method;
  const head = trainedWeight(model.weights.find(({ name }) => name === outputName)!, outputName);
  return {
    ...method,
    parameters: [...method.parameters, head],
    replaces: new Map([...method.replaces, [outputName, head]]),
  };
}
