// Walks through the header of a GGUF file. Counts and lengths in it are claims, so each is held against
// the bytes that are left before anything is read or allocated for it.

import { readSync } from "node:fs";
import { TunesmithError } from "../../errors.ts";

// A real header is a few MiB, nearly all of it vocabulary.
const MAX_HEADER_BYTES = 128 << 20;
const MAX_STRING_BYTES = 16 << 20;
const WINDOW_BYTES = 1 << 20;

/** A fault (checkpoint) of a file; the usual fix is to fetch it again. */
export function ggufFault(path: string, rule: string, seen: string, fix?: string): TunesmithError {
  return new TunesmithError("checkpoint", {
    where: path,
    rule,
    seen,
    fix: fix ?? "fetch the file again; it is truncated, damaged or not a GGUF file",
  });
}

/** A place in the header, read ahead of in windows; nothing is read beyond the file or the limit. */
export class GgufCursor {
  readonly path: string;
  readonly fileSize: number;
  readonly #fd: number;
  readonly #limit: number;
  #window = new Uint8Array(0);
  #windowStart = 0;
  #position = 0;

  constructor(fd: number, path: string, fileSize: number) {
    this.#fd = fd;
    this.path = path;
    this.fileSize = fileSize;
    this.#limit = Math.min(fileSize, MAX_HEADER_BYTES);
  }

  get position(): number {
    return this.#position;
  }

  get remaining(): number {
    return this.#limit - this.#position;
  }

  /** The next `count` bytes, valid until the next call. */
  take(count: number, what: string): DataView {
    if (count > this.remaining)
      throw ggufFault(
        this.path,
        `the header must lie within the file's first ${this.#limit} bytes`,
        `${what} of ${count} bytes at byte ${this.#position}, ${this.remaining} bytes from the end`,
      );
    let from = this.#position - this.#windowStart;
    if (from + count > this.#window.length) {
      this.#refill(count);
      from = 0;
    }
    this.#position += count;
    return new DataView(this.#window.buffer, this.#window.byteOffset + from, count);
  }

  #refill(count: number): void {
    const length = Math.min(this.remaining, Math.max(count, WINDOW_BYTES));
    const window = new Uint8Array(length);
    let done = 0;
    while (done < length) {
      const read = readSync(this.#fd, window, done, length - done, this.#position + done);
      if (read === 0)
        throw ggufFault(this.path, "the file must not shrink while it is read", "its end");
      done += read;
    }
    this.#window = window;
    this.#windowStart = this.#position;
  }

  uint32(what: string): number {
    return this.take(4, what).getUint32(0, true);
  }

  /** A 64-bit count or offset; beyond 2^53 it cannot be true of any file. */
  count(what: string): number {
    const value = this.take(8, what).getBigUint64(0, true);
    if (value > BigInt(Number.MAX_SAFE_INTEGER))
      throw ggufFault(this.path, `${what} must be a possible number`, String(value));
    return Number(value);
  }

  string(what: string): string {
    const length = this.count(`the length of ${what}`);
    if (length > MAX_STRING_BYTES)
      throw ggufFault(
        this.path,
        `${what} has at most ${MAX_STRING_BYTES} bytes`,
        `${length} bytes`,
      );
    const { buffer, byteOffset } = this.take(length, what);
    return TEXT.decode(new Uint8Array(buffer, byteOffset, length));
  }
}

const TEXT = new TextDecoder("utf-8", { ignoreBOM: true });
