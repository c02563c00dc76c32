// Public names of generation.
export { chooseToken } from "./choose-token.ts";
export type { JsonSchema } from "./constraint/json-schema.ts";
export { type ResponseFormat, readFormat } from "./constraint/response-format.ts";
export { type GenerateOptions, type GenerateResult, generate } from "./generate.ts";
export type { ChosenLogProbability, TokenLogProbability } from "./log-probabilities.ts";
export {
  DEFAULT_NEW_TOKENS,
  type GenerationOptions,
  type StopReason,
  stopTokenIds,
  withModelDefaults,
} from "./options.ts";
export type { FinishedReply, Reply, TextPiece } from "./reply.ts";
export {
  createRequests,
  DEFAULT_BATCH,
  type GenerationRequest,
  type GenerativeModel,
  type Requests,
  type RequestsOptions,
} from "./requests.ts";
export { type Sampling, scoreProcessors } from "./score-processors.ts";
export { createTextStream, type TextStream } from "./stream-text.ts";
