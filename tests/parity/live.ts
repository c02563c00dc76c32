// `npm run parity:live`: the stored cases rebuilt with the real libraries, adapters trained here checked in
// the real PEFT, or in AdapterHub's library, and merged folders in the real Transformers. Needs Python; what it compares with is stored,
// so that Node alone can check the rest. REFERENCE_PYTHON and REFERENCE_ADAPTERHUB_PYTHON name
// interpreters that have the libraries already. With a text behind the command, only adapters and models whose names hold it are checked.

import { spawn } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TensorToWrite, writeSafetensors } from "../../src/hub/index.ts";
import {
  type Batch,
  type LoadedModel,
  type LoraOptions,
  loadModel,
  type MethodOptions,
} from "../../src/index.ts";
import { merge } from "../../src/recipe/merge.ts";

const PARITY = import.meta.dirname;
const ROOT = join(PARITY, "../..");

/** Two trained LoRAs of the feed-forward. */
const MIXED = ["expert-0", "expert-1"].map((name) =>
  join(PARITY, "cases/xlora/softmax/adapter", name),
);

interface TrainedAdapter {
  readonly name: string;
  readonly model: string;
  /** LoRA's options, or another method's with its name. */
  readonly method: MethodOptions | Omit<LoraOptions, "name">;
  /** Opens the model as one of these labels. */
  readonly labels?: readonly string[];
}

/** Adapters to train: every option that changes what is saved or computed, at least once. */
const ADAPTERS: readonly TrainedAdapter[] = [
  { name: "defaults", model: "base", method: {} },
  { name: "all linear modules", model: "base", method: { targets: "all-linear", rank: 4 } },
  {
    name: "patterns, rsLoRA, some layers",
    model: "base",
    method: {
      targets: ["q_proj", "o_proj", "down_proj"],
      exclude: ["model.layers.0.self_attn.o_proj"],
      rankPattern: { q_proj: 2 },
      alphaPattern: { down_proj: 24 },
      rslora: true,
    },
  },
  {
    name: "a regular expression",
    model: "base",
    method: { targets: ".*\\.1\\.(self_attn\\.k_proj|mlp\\.gate_proj)" },
  },
  { name: "every bias", model: "biases", method: { bias: "all" } },
  { name: "biases of adapted modules", model: "biases", method: { bias: "lora_only" } },
  {
    name: "the head and the embeddings",
    model: "untied-head",
    method: { modulesToSave: ["lm_head", "embed_tokens"] },
  },
  { name: "orthogonal initialisation", model: "head-dim", method: { init: "orthogonal" } },
  { name: "MiCA", model: "base", method: { init: "mica", targets: ["q_proj", "down_proj"] } },
  { name: "biases of B", model: "biases", method: { loraBias: true } },
  { name: "DoRA", model: "biases", method: { name: "dora", targets: "all-linear" } },
  {
    name: "DoRA from pissa, embedding and head",
    model: "untied-head",
    method: { dora: true, init: "pissa", targets: ["embed_tokens", "lm_head", "q_proj"] },
  },
  {
    name: "tied embedding and head, each adapted",
    model: "base",
    method: { targets: ["embed_tokens", "lm_head"], rslora: true },
  },
  { name: "token rows", model: "base", method: { trainableTokens: [5, 52, 90] } },
  {
    name: "token rows of two modules",
    model: "base",
    method: { trainableTokens: { embed_tokens: [17, 4], lm_head: [8, 50, 12] } },
  },
  { name: "ia3", model: "base", method: { name: "ia3" } },
  {
    name: "ia3, other layers",
    model: "biases",
    method: { name: "ia3", targets: "all-linear", feedforward: ["o_proj"], exclude: ["v_proj"] },
  },
  {
    name: "ia3, some layers",
    model: "base",
    method: { name: "ia3", layersToTransform: [1], modulesToSave: ["embed_tokens"] },
  },
  { name: "qlora", model: "../qlora/nf4-double", method: { name: "qlora", targets: ["v_proj"] } },
  {
    name: "qlora over 8 bits",
    model: "../qlora/int8",
    method: { name: "qlora", targets: ["q_proj", "down_proj"] },
  },
  { name: "ln-tuning", model: "base", method: { name: "ln-tuning" } },
  {
    name: "ln-tuning, some norms",
    model: "base",
    method: {
      name: "ln-tuning",
      targets: ["input_layernorm", "norm"],
      exclude: ["layers.0.input_layernorm"],
    },
  },
  { name: "vera", model: "base", method: { name: "vera", rank: 12 } },
  {
    name: "vera from its seed",
    model: "biases",
    method: { name: "vera", rank: 7, saveProjection: false, projectionKey: 9, exclude: ["q_proj"] },
  },
  { name: "loha", model: "base", method: { name: "loha", rank: 2, alphaPattern: { o_proj: 3 } } },
  { name: "loha of full rank", model: "biases", method: { name: "loha", layersToTransform: [0] } },
  { name: "lokr", model: "base", method: { name: "lokr" } },
  {
    name: "lokr of low rank",
    model: "biases",
    method: { name: "lokr", rank: 1, decomposeBoth: true, decomposeFactor: 6, init: "lycoris" },
  },
  {
    name: "adalora, pruned",
    model: "base",
    method: { name: "adalora", initialRank: 3, targetRank: 1, totalSteps: 10, finalSteps: 3 },
  },
  {
    name: "x-lora",
    model: "base",
    method: { name: "x-lora", adapters: MIXED, firstPassScaling: 0.5 },
  },
  {
    name: "x-lora of a deep classifier, adapters trained too",
    model: "base",
    method: {
      name: "x-lora",
      adapters: MIXED,
      layerwise: true,
      depth: 2,
      size: 12,
      topK: 1,
      trainAdapters: true,
      weight: 2,
    },
  },
  { name: "oft", model: "base", method: { name: "oft" } },
  {
    name: "oft, exact",
    model: "biases",
    method: { name: "oft", blocks: 4, blockShare: true, cayleyNeumann: false, bias: "all" },
  },
  { name: "boft", model: "base", method: { name: "boft" } },
  {
    name: "boft by blocks",
    model: "biases",
    method: { name: "boft", blocks: 2, bias: "boft_only", targets: ["q_proj", "down_proj"] },
  },
  { name: "hra", model: "base", method: { name: "hra" } },
  { name: "hra, odd", model: "biases", method: { name: "hra", rank: 3, bias: "all" } },
  { name: "miss", model: "base", method: { name: "miss", rank: 8 } },
  {
    name: "miss of repeated rows",
    model: "biases",
    method: { name: "miss", rank: 10, variant: "mini", miniRank: 2 },
  },
  {
    name: "fourierft",
    model: "base",
    method: { name: "fourierft", frequencies: 20, frequencyPattern: { q_proj: 7 }, scaling: 50 },
  },
  {
    name: "fourierft from zero",
    model: "biases",
    method: { name: "fourierft", frequencies: 100, init: "zero", seed: 3 },
  },
  { name: "bitfit", model: "base", method: { name: "bitfit" } },
  {
    name: "bitfit, some layers",
    model: "biases",
    method: { name: "bitfit", layersToTransform: [0] },
  },
  { name: "prompt tuning", model: "base", method: { name: "prompt", virtualTokens: 5 } },
  { name: "prefix tuning", model: "head-dim", method: { name: "prefix", virtualTokens: 5 } },
  {
    name: "prefix tuning with an encoder",
    model: "base",
    method: { name: "prefix", virtualTokens: 5, projection: true },
  },
  { name: "P-tuning", model: "base", method: { name: "p-tuning", virtualTokens: 5 } },
  {
    name: "P-tuning by an LSTM",
    model: "untied-head",
    method: { name: "p-tuning", virtualTokens: 5, encoder: "lstm", encoderDropout: 0.2 },
  },
  { name: "adapters", model: "base", method: { name: "adapter", reductionFactor: 8 } },
  {
    name: "adapters of Houlsby, invertible",
    model: "biases",
    method: {
      name: "adapter",
      preset: "double_seq_bn_inv",
      reductionFactor: { 0: 4, default: 8 },
      normBefore: true,
      normAfter: true,
      adapterName: "own-name",
    },
  },
  {
    name: "adapters in parallel",
    model: "untied-head",
    method: { name: "adapter", preset: "scaled_par_bn", leaveOut: [0] },
  },
  {
    name: "adapters that are compact",
    model: "base",
    method: { name: "adapter", preset: "compacter", reductionFactor: 4, scaling: "channel" },
  },
  {
    name: "adapters that share little",
    model: "base",
    method: {
      name: "adapter",
      preset: "compacter++",
      reductionFactor: 4,
      phmSharedRule: false,
      phmFactorizedRule: true,
      phmBias: false,
    },
  },
  {
    name: "adapters fused",
    model: "base",
    method: {
      name: "adapter-fusion",
      adapters: ["alpha", "beta", "gamma"].map((name) =>
        join(PARITY, "cases/adapterhub/fusion-static/adapter", name),
      ),
    },
  },
  { name: "unipelt", model: "base", method: { name: "unipelt" } },
  { name: "mix and match", model: "biases", method: { name: "unipelt", preset: "mam" } },
  {
    name: "a union",
    model: "base",
    method: {
      name: "unipelt",
      union: [
        { kind: "prefix", length: 3, flat: true, gated: true, sharedGate: false, leaveOut: [0] },
        { kind: "lora", rank: 2, targets: ["k_proj", "up_proj", "down_proj"] },
      ],
    },
  },
];

/** What methods keep a classifier's head with, in each way that they write their files. */
const CLASSIFIERS: readonly TrainedAdapter[] = [
  {
    name: "a classifier",
    model: "untied-head",
    method: { targets: "all-linear" },
    labels: ["a", "b", "c"],
  },
  { name: "a reward model", model: "base", method: { bias: "all" }, labels: ["score"] },
  { name: "a classifier by DoRA", model: "base", method: { name: "dora" }, labels: ["a", "b"] },
  {
    name: "a classifier by LoRA from pissa",
    model: "base",
    method: { init: "pissa" },
    labels: ["a", "b"],
  },
  { name: "a classifier by IA3", model: "base", method: { name: "ia3" }, labels: ["a", "b"] },
  {
    name: "a classifier by VeRA",
    model: "base",
    method: { name: "vera", rank: 12 },
    labels: ["a", "b"],
  },
  { name: "a classifier by OFT", model: "base", method: { name: "oft" }, labels: ["a", "b"] },
  {
    name: "a classifier by LN tuning",
    model: "base",
    method: { name: "ln-tuning" },
    labels: ["a", "b"],
  },
];

const rows = [
  [5, 17, 4, 33, 46, 8, 50, 52, 12],
  [52, 54, 41, 9, 43, 0, 0, 0, 0],
];
const BATCH: Batch = {
  inputIds: rows,
  attentionMask: rows.map((row) => row.map((id) => (id === 0 ? 0 : 1))),
  // The first token is given, where PEFT would have virtual tokens predict it.
  labels: rows.map((row) => row.map((id, t) => (id === 0 || t === 0 ? -100 : id))),
};

const labelled = (count: number): Batch => ({
  inputIds: BATCH.inputIds,
  attentionMask: BATCH.attentionMask!,
  rowLabels: count === 1 ? [[0.7], [-1.5]] : [[count - 1], [0]],
});
/** Other labels than were learned: a loss that has become small is rounding in every library. */
const turned = ({ rowLabels, ...batch }: Batch): Batch => ({
  ...batch,
  ...(rowLabels && { rowLabels: rowLabels.toReversed() }),
});

const wanted = process.argv[2];
const isWanted = ({ name }: { readonly name: string }) =>
  wanted === undefined || name.includes(wanted);

interface Tally {
  passed: number;
  failed: number;
}

/** Runs a program with its output shown; its exit code and what it printed. */
function run(program: string, args: readonly string[]): Promise<{ code: number; text: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { cwd: ROOT, stdio: ["ignore", "pipe", "inherit"] });
    let text = "";
    child.stdout.setEncoding("utf8").on("data", (part: string) => {
      text += part;
      process.stdout.write(part);
    });
    child.on("error", reject);
    child.on("close", (code) => resolve({ code: code ?? 1, text }));
  });
}

/** Libraries that need environments of their own. */
const LIBRARIES = {
  peft: {
    given: process.env.REFERENCE_PYTHON,
    environment: ".venv",
    arguments: [],
    build: "make-cases.py",
    check: "check-adapter.py",
  },
  adapterHub: {
    given: process.env.REFERENCE_ADAPTERHUB_PYTHON,
    environment: ".venv-adapterhub",
    arguments: ["adapterhub"],
    build: "make-adapterhub-cases.py",
    check: "check-adapterhub.py",
  },
} as const;

type Library = (typeof LIBRARIES)[keyof typeof LIBRARIES];

const OF_ADAPTERHUB: readonly string[] = ["adapter", "adapter-fusion", "unipelt"];

const libraryOf = ({ method }: TrainedAdapter): Library =>
  "name" in method && OF_ADAPTERHUB.includes(method.name) ? LIBRARIES.adapterHub : LIBRARIES.peft;

const pythons = new Map<Library, Promise<string>>();

/** The library's interpreter, made where none is given. */
function pythonOf(library: Library): Promise<string> {
  const install = async () => {
    if (library.given) return library.given;
    const { code } = await run("sh", ["scripts/reference-venv.sh", ...library.arguments]);
    if (code !== 0) throw new Error("parity:live: the reference libraries could not be installed");
    return join(ROOT, library.environment, "bin/python");
  };
  const known = pythons.get(library) ?? install();
  pythons.set(library, known);
  return known;
}

/** One check for each stored file; a rebuild that breaks off counts as one that failed. */
async function rebuildCases(library: Library, tally: Tally): Promise<void> {
  const script = join(PARITY, library.build);
  const { code, text } = await run(await pythonOf(library), [script, "--check"]);
  const [, compared = 0, differ = 0] =
    /(\d+) files compared, (\d+) differ/.exec(text)?.map(Number) ?? [];
  tally.passed += compared - differ;
  tally.failed += code === 0 ? 0 : Math.max(1, differ);
}

async function checkAdapters(tally: Tally): Promise<void> {
  for (const trained of [...ADAPTERS, ...CLASSIFIERS].filter(isWanted)) {
    const { name, model: folder, method, labels } = trained;
    const batch = labels ? labelled(labels.length) : BATCH;
    const library = libraryOf(trained);
    const scratch = await mkdtemp(join(tmpdir(), "tunesmith-live-"));
    try {
      const reference = join(PARITY, "cases/llama", folder, "model");
      await using model = await loadModel(reference, {
        method: { name: "lora", ...method },
        ...(labels && { classifier: { labels } }),
      });
      for (let step = 0; step < 10; step++)
        await model.trainStep(batch, { learningRate: 0.02, maxGradNorm: 1 });
      await model.saveAdapter(scratch);
      const io = join(scratch, "io.safetensors");
      await writeResults(io, model, turned(batch));
      process.stdout.write(`\nan adapter trained here, in its library: ${name}\n`);
      const { code } = await run(await pythonOf(library), [
        join(PARITY, library.check),
        scratch,
        reference,
        io,
      ]);
      if (code === 0) tally.passed++;
      else tally.failed++;
    } finally {
      await rm(scratch, { recursive: true });
    }
  }
}

/** Every architecture that there is a stored model and a LoRA on it of. */
const MERGED = readdirSync(join(PARITY, "cases/architectures"))
  .map((name) => {
    const folder = join(PARITY, "cases/architectures", name);
    return { name, model: join(folder, "model"), adapter: `${folder}-lora/adapter` };
  })
  .filter(({ model, adapter }) => existsSync(model) && existsSync(adapter));

async function checkMerged(tally: Tally): Promise<void> {
  for (const { name, model: base, adapter } of MERGED.filter(isWanted)) {
    const scratch = await mkdtemp(join(tmpdir(), "tunesmith-live-"));
    try {
      const merged = join(scratch, "model");
      await merge({ model: base, adapter, out: merged });
      const io = join(scratch, "io.safetensors");
      await using model = await loadModel(base, { adapter });
      await writeResults(io, model, BATCH);
      process.stdout.write(`\na model merged here, in Transformers: ${name}\n`);
      const python = await pythonOf(LIBRARIES.peft);
      const { code } = await run(python, [join(PARITY, "check-merged.py"), merged, io]);
      if (code === 0) tally.passed++;
      else tally.failed++;
    } finally {
      await rm(scratch, { recursive: true });
    }
  }
}

/** What check-adapter.py reads: the batch, and what the trained model makes of it. */
async function writeResults(path: string, model: LoadedModel, batch: Batch): Promise<void> {
  const { logits, loss } = await model.forward(batch);
  const whole = (name: string, values: readonly (readonly number[])[]): TensorToWrite => ({
    name,
    dtype: "I64",
    shape: [values.length, values[0]!.length],
    data: new Uint8Array(BigInt64Array.from(values.flat(), BigInt).buffer),
  });
  await writeSafetensors(path, [
    whole("inputIds", batch.inputIds),
    whole("attentionMask", batch.attentionMask!),
    ...(batch.labels ? [whole("labels", batch.labels)] : []),
    ...(batch.rowLabels
      ? [
          {
            name: "rowLabels",
            dtype: "F32",
            shape: [batch.rowLabels.length, batch.rowLabels[0]!.length],
            data: Float32Array.from(batch.rowLabels.flat()),
          } as const,
        ]
      : []),
    { name: "logits", dtype: "F32", ...logits },
    { name: "loss", dtype: "F32", shape: [1], data: Float32Array.of(loss!) },
  ]);
}

const tally: Tally = { passed: 0, failed: 0 };
if (wanted === undefined)
  for (const library of Object.values(LIBRARIES)) await rebuildCases(library, tally);
await checkAdapters(tally);
await checkMerged(tally);
process.stdout.write(`\n${tally.passed} passed, ${tally.failed} failed\n`);
process.exitCode = tally.failed === 0 && tally.passed > 0 ? 0 : 1;
