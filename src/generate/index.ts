// Public names of generation.
export { chooseToken } from "./choose-token.ts";
export type { JsonSchema } from "./constraint/json-schema.ts";
export { type ResponseFormat, readFormat } from "./constraint/response-format.ts";
export {
  type GenerateOptions,
  type GenerateResult,
  type GenerativeModel,
  generate,
} from "./generate.ts";
export type { ChosenLogProbability, TokenLogProbability } from "./log-probabilities.ts";
export {
  DEFAULT_NEW_TOKENS,
  type GenerationOptions,
  type StopReason,
  stopTokenIds,
  withModelDefaults,
} from "./options.ts";
export { type Sampling, scoreProcessors } from "./score-processors.ts";
export { createTextStream, type TextPiece, type TextStream } from "./stream-text.ts";
