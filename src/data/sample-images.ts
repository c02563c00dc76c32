// A sample's images: their files opened, and where among its tokens each of them stands.

import { TunesmithError } from "../errors.ts";
import type { ImageProcessor, ImagePrompts, OpenedImage } from "../hub/index.ts";
import type { Tokenizer } from "../hub/tokenizers/tokenizer-types.ts";
import { ofRecord } from "./record-fault.ts";
import type { Sample, SampleImage } from "./sample.ts";

/** An opened image, and its tokens. */
interface NamedImage extends OpenedImage {
  readonly path: string;
  /** How many tokens of its prompt stand in front of the first that the image gives a row to. */
  readonly lead: number;
  readonly tokens: number;
  /** Tokens that the image gives rows to. */
  readonly rows: number;
}

export interface ImageOpener {
  /**
   * Images of a record: each file is opened once, whichever record names it next.
   * @throws TunesmithError (data) for a file that is no image, with the record's place
   */
  open(paths: readonly string[], where: string): Promise<readonly NamedImage[]>;
  /** What a chat template's placeholders give way to. */
  prompts(images: readonly NamedImage[]): ImagePrompts;
  /** A sample with its images. */
  place(sample: Sample, images: readonly NamedImage[]): Sample;
}

const withoutToken = (placeholder: string) =>
  new TunesmithError("checkpoint", {
    where: "tokenizer",
    rule: "the tokenizer of a model that looks at images has a token for them",
    seen: `no ${placeholder}`,
    fix: "fetch the model with all files of its folder",
  });

export function createImageOpener(processor: ImageProcessor, tokenizer: Tokenizer): ImageOpener {
  const { placeholder } = processor;
  const imageToken = tokenizer.tokenToId(placeholder);
  const opened = new Map<string, NamedImage>();
  const lengths = new Map<string, Pick<NamedImage, "lead" | "tokens" | "rows">>();

  const lengthsOf = (prompt: string) => {
    const known = lengths.get(prompt);
    if (known) return known;
    const ids = tokenizer.encode(prompt, { addSpecialTokens: false });
    if (imageToken === undefined) throw withoutToken(placeholder);
    const lead = ids.indexOf(imageToken);
    const rows = ids.filter((id) => id === imageToken).length;
    const found = { lead, tokens: ids.length, rows };
    lengths.set(prompt, found);
    return found;
  };

  const openOne = async (path: string, where: string): Promise<NamedImage> => {
    const known = opened.get(path);
    if (known) return known;
    const image = await ofRecord(where, () => processor.open(path));
    const { shape, data } = image.pixelValues;
    // What is broken behind its head shows when it is decoded: the record is told then, too.
    const pixelValues = { shape, data: () => ofRecord(where, data) };
    const named = { ...image, ...lengthsOf(image.prompt), path, pixelValues };
    opened.set(path, named);
    return named;
  };

  return {
    async open(paths, where) {
      const images: NamedImage[] = [];
      for (const path of paths) images.push(await openOne(path, where));
      return images;
    },
    prompts: (images) => ({ placeholder, prompts: images.map(({ prompt }) => prompt) }),
    place(sample, images) {
      if (images.length === 0) return sample;
      const positions = [...sample.inputIds.keys()].filter(
        (position) => sample.inputIds[position] === imageToken,
      );
      let row = 0;
      const placed = images.map(({ path, pixelValues, lead, tokens, rows }): SampleImage => {
        const start = positions[row]! - lead;
        row += rows;
        return { path, start, end: start + tokens, pixelValues };
      });
      return { ...sample, images: placed };
    },
  };
}
