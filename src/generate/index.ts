// Public names of generation.
export type { JsonSchema } from "./constraint/json-schema.ts";
export { type ResponseFormat, readFormat } from "./constraint/response-format.ts";
export { type GenerateOptions, type GenerateResult, generate } from "./generate.ts";
export type { ChosenLogProbability, TokenLogProbability } from "./log-probabilities.ts";
export {
  DEFAULT_NEW_TOKENS,
  type StopReason,
  stopTokenIds,
  withModelDefaults,
} from "./options.ts";
export type { FinishedReply, Reply, TextPiece } from "./reply.ts";
export {
  createRequests,
  DEFAULT_BATCH,
  type GenerationRequest,
  type Requests,
  type RequestsOptions,
} from "./requests.ts";
export type { Sampling } from "./score-processors.ts";
export { createTextStream } from "./stream-text.ts";
