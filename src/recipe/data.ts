// A recipe's data opened for its model, and a look at them without training.

import {
  type BatchSource,
  type Dataset,
  type DatasetReport,
  loadDataset,
  type PreviewedSample,
  previewSample,
} from "../data/index.ts";
import { encodeChat } from "../hub/index.ts";
import { createLabelReader, describeLabel } from "../objectives/index.ts";
import type { Attention } from "./attention.ts";
import { datasetResolver } from "./datasets.ts";
import { type Prepared, type PrepareOptions, prepare, type RecipeSource } from "./prepare.ts";

export interface RecipeData {
  readonly train: BatchSource;
  readonly evaluation: BatchSource | undefined;
  readonly report: DatasetReport;
  /** The first training samples in the order of the files, as the model will see them. */
  preview(count: number): Promise<PreviewedSample[]>;
}

/** Opens the data of a prepared recipe. Throws a TunesmithError for faults of files and records. */
export async function openRecipeData(
  { recipe, tokenizer, classifier, architecture, imageProcessor }: Prepared,
  attention: Attention = {},
): Promise<RecipeData> {
  const { signal, onProgress } = attention;
  let opened = false;
  const onRecords = (records: number) => {
    // A stream is read again while it is trained on; the run's own signal stops that.
    if (opened) return;
    onProgress?.({ stage: "read", records });
    signal?.throwIfAborted();
  };
  const dataset: Dataset = await loadDataset(
    {
      ...recipe.data,
      batchSize: recipe.train.batchSize,
      seed: recipe.train.seed,
      onProgress: onRecords,
      resolve: datasetResolver(attention),
      blanks: architecture.dimensions.blanks,
      imageProcessor,
      ...(classifier && { readLabel: createLabelReader(classifier) }),
    },
    tokenizer,
    encodeChat,
  );
  opened = true;
  return {
    train: dataset.train,
    evaluation: dataset.eval,
    report: dataset.report,
    async preview(count) {
      const samples: PreviewedSample[] = [];
      if (count > 0)
        for await (const sample of dataset.samples()) {
          const { rowLabel } = sample;
          const label = classifier && rowLabel && describeLabel(classifier, rowLabel);
          samples.push(previewSample(sample, tokenizer, label));
          if (samples.length >= count) break;
        }
      return samples;
    },
  };
}

export interface DataPreview {
  readonly report: DatasetReport;
  readonly samples: readonly PreviewedSample[];
}

/** The data of a recipe as its model will see them; needs the model's tokenizer, not its weights. */
export async function previewRecipeData(
  source: RecipeSource,
  options: PrepareOptions & { readonly samples: number },
): Promise<DataPreview> {
  const prepared = await prepare(source, options);
  try {
    const { report, preview } = await openRecipeData(prepared, options);
    return { report, samples: await preview(options.samples) };
  } finally {
    await prepared.checkpoint.close();
  }
}
