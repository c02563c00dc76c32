// What a measurement of generation prints, and what it runs.

/** Tokens read at once, tokens in front of what is written, tokens written, sequences at once. */
export const GENERATION = { prompt: 512, shortPrompt: 16, written: 64, sequences: 8 } as const;

export interface GenerationReport {
  readonly peer: string;
  /** A prompt of one sequence. */
  readonly read_tokens_per_second: number;
  /** One sequence. */
  readonly write_tokens_per_second: number;
  /** All sequences together. */
  readonly write_all_tokens_per_second: number;
  /** From the start of the process. */
  readonly seconds_to_first_token: number;
  readonly peak_rss_bytes: number;
  /** Time of sequences with an adapter each, to that with one adapter for all. */
  readonly adapters_ratio?: number;
  readonly versions: Readonly<Record<string, string>>;
}
