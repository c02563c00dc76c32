// Reading Protocol Buffers as far as SentencePiece's models need it: a message as its fields, by number.

/** A field's values in their order: whole numbers, or the bytes of what is not one. */
export type Fields = ReadonlyMap<number, readonly (number | Uint8Array)[]>;

/** Wire types of the encoding. */
const VARINT = 0;
const SIXTY_FOUR_BITS = 1;
const BYTES = 2;
const THIRTY_TWO_BITS = 5;

/** A message's fields. @throws RangeError for bytes that are no message */
export function readFields(message: Uint8Array): Fields {
  const fields = new Map<number, (number | Uint8Array)[]>();
  let at = 0;
  const varint = (): number => {
    let [value, factor] = [0, 1];
    for (;;) {
      const byte = message[at++];
      if (byte === undefined || factor > 2 ** 63) throw new RangeError("a number does not end");
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) return value;
      factor *= 128;
    }
  };
  const bytes = (length: number): Uint8Array => {
    if (at + length > message.length) throw new RangeError("a field reaches beyond the end");
    at += length;
    return message.subarray(at - length, at);
  };
  while (at < message.length) {
    const tag = varint();
    const field = Math.floor(tag / 8);
    const values = fields.get(field) ?? [];
    fields.set(field, values);
    const wire = tag % 8;
    if (wire === VARINT) values.push(varint());
    else if (wire === BYTES) values.push(bytes(varint()));
    else if (wire === THIRTY_TWO_BITS) values.push(bytes(4));
    else if (wire === SIXTY_FOUR_BITS) values.push(bytes(8));
    else throw new RangeError(`a field of wire type ${wire}`);
  }
  return fields;
}

/** The last value of a field, as one that may be written more than once counts. */
export function bytesOf(fields: Fields, field: number): Uint8Array | undefined {
  const value = fields.get(field)?.at(-1);
  return value instanceof Uint8Array ? value : undefined;
}

/** A whole number, an enumeration's or 0 and 1 for false and true. */
export function numberOf(fields: Fields, field: number, fallback: number): number {
  const value = fields.get(field)?.at(-1);
  return typeof value === "number" ? value : fallback;
}

export function textOf(fields: Fields, field: number): string {
  return new TextDecoder().decode(bytesOf(fields, field) ?? new Uint8Array());
}

/** A number of 32 bits, as SentencePiece has its scores. */
export function floatOf(fields: Fields, field: number): number {
  const bytes = bytesOf(fields, field);
  return bytes?.length === 4
    ? new DataView(bytes.buffer, bytes.byteOffset, 4).getFloat32(0, true)
    : 0;
}
