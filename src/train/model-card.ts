// The README.md beside a trained adapter: what it is, what it was made of, what it reached, and how to
// load it. Hubs read the block at its top.

import { stringify } from "yaml";
import type { QuantizationType } from "../hub/index.ts";
import type { TrainingSettings } from "./settings.ts";

/** What only the caller of a training run knows, for the model card. */
export interface CardSubject {
  /** Hub id or path of the base model. */
  readonly baseModel: string;
  /**
   * How the folder is loaded: on top of the base (an adapter of PEFT's or a mixture of several, one of
   * AdapterHub's or several of them), or in its place.
   */
  readonly kind: "adapter" | "adapterMixture" | "adapterHub" | "adapterSetup" | "model";
  /** How the base's linear weights are kept, where they are quantised on the way in. */
  readonly quantization?: QuantizationType;
  /** Of a classifier or reward model: the names of what it says. */
  readonly labels?: readonly string[];
  /** Such as "LoRA, rank 8, on q_proj and v_proj". */
  readonly method: string;
  /** Such as { "training samples": 1200, "held-out samples": 130 }. */
  readonly data?: Readonly<Record<string, number | string>>;
  /** Such as { tunesmith: "0.1.0", "onnxruntime-node": "1.30.0" }. */
  readonly versions?: Readonly<Record<string, string>>;
  /** A licence identifier, where the base model and the data allow to name one. */
  readonly license?: string;
  /** More words to be found by, such as "lora". */
  readonly tags?: readonly string[];
}

export interface CardResults {
  readonly step: number;
  readonly epochs: number;
  readonly seconds: number;
  /** Evaluation loss before and after. */
  readonly lossBefore?: number;
  readonly lossAfter?: number;
  /** Training loss of the first and of the last step. */
  readonly firstLoss?: number;
  readonly lastLoss?: number;
}

/** Writes the model card as Markdown. */
export function writeModelCard(
  subject: CardSubject,
  settings: TrainingSettings,
  results: CardResults,
): string {
  const { baseModel, kind, license, method } = subject;
  const isHubId = /^[\w.-]+\/[\w.-]+$/.test(baseModel) && !baseModel.startsWith(".");
  const front = {
    ...(isHubId ? { base_model: baseModel } : {}),
    library_name: LOADING[kind].library,
    ...(license ? { license } : {}),
    pipeline_tag: subject.labels ? "text-classification" : "text-generation",
    tags: ["tunesmith", ...(subject.tags ?? [])],
  };
  return [
    `---\n${stringify(front)}---`,
    `# ${kind === "model" ? "Fine-tuned from" : "Adapter for"} ${baseModel}`,
    `Trained with tunesmith: ${method}.`,
    "## Result",
    table(["", "before", "after"], resultRows(results)),
    `${results.step} steps (${tidy(results.epochs)} epochs) in ${tidy(results.seconds)} seconds.`,
    ...(subject.data ? ["## Data", table(["what", "count"], Object.entries(subject.data))] : []),
    "## Settings",
    table(
      ["setting", "value"],
      Object.entries(settings).map(([key, value]) => [key, JSON.stringify(value)]),
    ),
    "## How to load it",
    howToLoad(subject),
    ...(subject.versions
      ? ["## Versions", table(["package", "version"], Object.entries(subject.versions))]
      : []),
    "",
  ].join("\n\n");
}

function resultRows(results: CardResults): (string | number)[][] {
  const { lossBefore, lossAfter, firstLoss, lastLoss } = results;
  const row = (name: string, before?: number, after?: number) =>
    before === undefined || after === undefined ? [] : [[name, tidy(before), tidy(after)]];
  return [
    ...row("loss on held-out data", lossBefore, lossAfter),
    ...row("training loss (first and last step)", firstLoss, lastLoss),
  ];
}

const BASE = (model: string) =>
  `model = AutoModelForCausalLM.from_pretrained(${JSON.stringify(model)})`;
const FOLDER = '"path/to/this/folder"';
const hubLoading = (call: string) => ({
  library: "adapters",
  python: (model: string) => [
    "import adapters",
    "from transformers import AutoModelForCausalLM",
    "",
    BASE(model),
    "adapters.init(model)",
    `model.${call}(${FOLDER}, set_active=True, use_safetensors=True)`,
  ],
});

/** Each kind's library, and how its users load the folder. */
const LOADING: Readonly<
  Record<CardSubject["kind"], { library: string; python: (baseModel: string) => string[] }>
> = {
  adapter: {
    library: "peft",
    python: (model) => [
      "from peft import PeftModel",
      "from transformers import AutoModelForCausalLM",
      "",
      BASE(model),
      `model = PeftModel.from_pretrained(model, ${FOLDER})`,
    ],
  },
  adapterMixture: {
    library: "peft",
    python: (model) => [
      "from peft import PeftModel, XLoraConfig",
      "from transformers import AutoModelForCausalLM",
      "",
      BASE(model),
      "model.config.use_cache = False",
      `folder = ${FOLDER}`,
      "config = XLoraConfig.from_pretrained(folder)",
      'config.adapters = {name: f"{folder}/expert-{name}" for name in config.adapters}',
      "model = PeftModel.from_pretrained(model, folder, config=config)",
    ],
  },
  adapterHub: hubLoading("load_adapter"),
  adapterSetup: hubLoading("load_adapter_setup"),
  model: {
    library: "transformers",
    python: () => [
      "from transformers import AutoModelForCausalLM",
      "",
      `model = AutoModelForCausalLM.from_pretrained(${FOLDER})`,
    ],
  },
};

function howToLoad({ baseModel, kind, quantization, labels }: CardSubject): string {
  const python = LOADING[kind]
    .python(baseModel)
    .map((line) => (labels ? asClassifier(line, labels.length, kind) : line));
  const verb = labels ? "classify" : "chat";
  const flag = quantization === undefined ? "" : ` --quantization ${quantization}`;
  const shell =
    kind === "model"
      ? `npx tunesmith ${verb} --model path/to/this/folder`
      : `npx tunesmith ${verb} --model ${baseModel} --adapter path/to/this/folder${flag}`;
  return `\`\`\`python\n${python.join("\n")}\n\`\`\`\n\n\`\`\`sh\n${shell}\n\`\`\``;
}

/** A line that loads a model which continues texts, as one that loads a classifier. */
function asClassifier(line: string, labels: number, kind: CardSubject["kind"]): string {
  const isBase = line.startsWith("model = AutoModelForCausalLM") && kind !== "model";
  return line
    .replace("AutoModelForCausalLM", "AutoModelForSequenceClassification")
    .replace(/\)$/, isBase ? `, num_labels=${labels})` : ")");
}

function table(head: readonly string[], rows: readonly (readonly unknown[])[]): string {
  const line = (cells: readonly unknown[]) =>
    `| ${cells.map((cell) => String(cell).replaceAll("|", "\\|").replaceAll("\n", " ")).join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
}

function tidy(value: number): string {
  return String(Number(value.toPrecision(4)));
}
