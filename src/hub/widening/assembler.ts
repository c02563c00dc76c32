// WebAssembly written from TypeScript: expressions become bytes, functions a module. Only what the loops of
// `loops.ts` need, so that vectors of 16 bytes can be computed with and no compiler has to be there.
// Encodings: WebAssembly 2.0, chapter 5; of the vector instructions, section 5.4.9.

/** Instructions that leave a value on the stack, or none where they are statements. */
export type Code = readonly number[];

type Type = "i32" | "v128";
const TYPES = { i32: 0x7f, v128: 0x7b } satisfies Record<Type, number>;

/** A parameter or local variable of a function. */
export interface Variable {
  readonly type: Type;
  readonly get: Code;
  readonly set: (value: Code) => Code;
}

export interface Routine {
  readonly parameters: number;
  readonly locals: readonly Variable[];
  readonly body: Code;
}

/**
 * A function of whole numbers (addresses, mostly) without a result.
 * @param write makes the body; its first argument declares local variables
 */
export function defineRoutine<Names extends string>(
  parameterNames: readonly Names[],
  write: (
    local: (type: Type) => Variable,
    parameters: Readonly<Record<Names, Variable>>,
  ) => readonly Code[],
): Routine {
  const parameters = parameterNames.map((_, i) => variable("i32", i));
  const locals: Variable[] = [];
  const local = (type: Type) => {
    locals.push(variable(type, parameters.length + locals.length));
    return locals.at(-1)!;
  };
  const named = Object.fromEntries(parameterNames.map((key, i) => [key, parameters[i]!]));
  const body = write(local, named as Record<Names, Variable>).flat();
  return { parameters: parameters.length, locals, body };
}

const variable = (type: Type, index: number): Variable => ({
  type,
  get: [0x20, ...unsigned(index)],
  set: (value) => [...value, 0x21, ...unsigned(index)],
});

const operator =
  (...opcode: number[]) =>
  (...operands: Code[]): Code => [...operands.flat(), ...opcode];

const vector = (opcode: number) => operator(0xfd, ...unsigned(opcode));

/** Whole numbers, also addresses. */
export const i32 = {
  constant: (value: number): Code => [0x41, ...signed(value)],
  add: operator(0x6a),
  subtract: operator(0x6b),
  multiply: operator(0x6c),
};

/** Runs statements once, and again as long as a variable is below another one (as unsigned numbers). */
export const repeatWhileLess = (a: Variable, b: Variable, statements: readonly Code[]): Code => [
  ...[0x03, 0x40],
  ...statements.flat(),
  ...[...a.get, ...b.get, 0x49],
  ...[0x0d, 0, 0x0b],
];

/** Vectors of 16 bytes. Shifts are by a whole number. */
export const v128 = {
  load: (address: Code): Code => [...address, 0xfd, 0, 0, 0],
  /** Four times the 32 bits at an address. */
  load32Splat: (address: Code): Code => [...address, 0xfd, 9, 0, 0],
  store: (address: Code, value: Code, offset = 0): Code => [
    ...[...address, ...value],
    ...[0xfd, 11, 0, ...unsigned(offset)],
  ],
  and: vector(78),
  or: vector(80),
  xor: vector(81),
  /** For each byte of the second the byte of the first at that place. */
  pick: vector(14),
  shiftBytesRight: vector(109),
  shiftLeft32: vector(171),
  isGreater32: vector(59),
  subtractFloats: vector(229),
  multiplyFloats: vector(230),
  toFloats: vector(250),
  widenLowBytes: vector(135),
  widenHighBytes: vector(136),
  widenLow16: vector(167),
  widenHigh16: vector(168),
  widenLowUnsigned16: vector(169),
  widenHighUnsigned16: vector(170),
  /** Items of `size` bytes from the halves of two vectors (0: the lower ones), alternating. */
  interleave: (size: number, half: 0 | 1, a: Code, b: Code): Code => {
    const lane = (i: number) => {
      const item = Math.floor(i / size);
      return 8 * half + (item >> 1) * size + (i % size) + 16 * (item & 1);
    };
    return [...a, ...b, 0xfd, 13, ...Array.from({ length: 16 }, (_, i) => lane(i))];
  },
};

/** What is used of WebAssembly, which TypeScript declares for browsers alone. */
declare namespace WebAssembly {
  class Module {
    constructor(bytes: Uint8Array);
  }
  class Instance {
    constructor(module: Module, imports: object);
    readonly exports: Record<string, unknown>;
  }
  class Memory {
    constructor(options: { initial: number });
    readonly buffer: ArrayBuffer;
  }
}

/** Bytes of a page of memory. */
export const PAGE = 65536;

/** Compiled functions by name, and the memory that their addresses are of. */
export interface Instance<Name extends string> {
  readonly buffer: ArrayBuffer;
  readonly functions: Readonly<Record<Name, (...parameters: number[]) => void>>;
}

/**
 * Compiles functions, once for any number of memories.
 * @param data what each memory holds from address 0 on
 */
export function compileRoutines<Name extends string>(
  routines: Readonly<Record<Name, Routine>>,
  data: Uint8Array,
): (pages: number) => Instance<Name> {
  const module = new WebAssembly.Module(Uint8Array.from(encodeModule(routines, data)));
  return (pages) => {
    const memory = new WebAssembly.Memory({ initial: pages });
    const { exports } = new WebAssembly.Instance(module, { host: { memory } });
    return { buffer: memory.buffer, functions: exports as Instance<Name>["functions"] };
  };
}

function encodeModule(named: Readonly<Record<string, Routine>>, data: Uint8Array): Code {
  const routines = Object.values(named);
  const names = Object.keys(named);
  const section = (id: number, items: readonly Code[]) => [id, ...sized(list(items))];
  return [
    ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(
      1,
      routines.map(({ parameters }) => [
        0x60,
        ...list(Array.from({ length: parameters }, () => [TYPES.i32])),
        0,
      ]),
    ),
    ...section(2, [[...text("host"), ...text("memory"), 2, 0, 1]]),
    ...section(
      3,
      routines.map((_, i) => unsigned(i)),
    ),
    ...section(
      7,
      names.map((name, i) => [...text(name), 0, ...unsigned(i)]),
    ),
    ...section(
      10,
      routines.map(({ locals, body }) =>
        sized([...list(locals.map(({ type }) => [1, TYPES[type]])), ...body, 0x0b]),
      ),
    ),
    ...section(11, [[0, ...i32.constant(0), 0x0b, ...sized([...data])]]),
  ];
}

const sized = (bytes: Code): Code => [...unsigned(bytes.length), ...bytes];
const list = (items: readonly Code[]): Code => [...unsigned(items.length), ...items.flat()];
const text = (value: string): Code => sized([...new TextEncoder().encode(value)]);

/** LEB128: seven bits a byte, the lowest first. */
function unsigned(value: number): Code {
  return value < 128 ? [value] : [(value & 127) | 128, ...unsigned(value >>> 7)];
}

function signed(value: number): Code {
  return value >= -64 && value < 64 ? [value & 127] : [(value & 127) | 128, ...signed(value >> 7)];
}
