// Datasets of the hub against a local server: which files a reference names, and that they come as models do.

import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { describe, expect, it } from "vitest";
import { expectFault, temporaryFolder } from "../testing/files.ts";
import { type ServedRepository, startHub } from "../testing/hub-server.ts";
import { parseDatasetReference } from "./dataset-reference.ts";
import type { DownloadProgress } from "./fetch-repository.ts";
import type { Environment } from "./hub-cache.ts";
import { resolveDataset } from "./resolve-dataset.ts";

const commit = "89abcdef0123456789abcdef0123456789abcdef";
const options = { splits: ["train"], extensions: [".jsonl", ".parquet"] };

const card = `---
license: mit
configs:
  - config_name: main
    default: true
    data_files:
      - split: train
        path: "main/train-*"
      - { split: test, path: [main/test.jsonl] }
  - config_name: extra
    data_dir: more
---
# Words
`;
const files = {
  "README.md": card,
  "main/train-0.jsonl": '{"text":"a"}\n',
  "main/train-1.jsonl": '{"text":"b"}\n',
  "main/test.jsonl": '{"text":"c"}\n',
  "more/validation.jsonl": '{"text":"d"}\n',
  "picture.png": "…",
};

async function setUp(held: ServedRepository["files"] = files, more: Environment = {}) {
  const hub = await startHub({ kind: "dataset", repository: "owner/words", commit, files: held });
  const cache = temporaryFolder();
  const environment: Environment = { HF_HOME: cache, HF_ENDPOINT: hub.url, ...more };
  const snapshot = join(cache, "hub", "datasets--owner--words", "snapshots", commit);
  const ask = async (reference: string, also: Environment = {}) => {
    const paths = await resolveDataset(reference, {
      ...options,
      environment: { ...environment, ...also },
    });
    return paths?.map((path) => relative(snapshot, path));
  };
  return { hub, environment, snapshot, ask };
}

describe("a dataset of the hub", () => {
  it("is downloaded beside the Python tools' copies, the asked split and no more", async () => {
    const { environment, snapshot, hub } = await setUp();
    const progress: DownloadProgress[] = [];
    const paths = await resolveDataset("owner/words", {
      ...options,
      environment,
      onProgress: (event) => progress.push(event),
    });
    expect(paths).toEqual([
      join(snapshot, "main/train-0.jsonl"),
      join(snapshot, "main/train-1.jsonl"),
    ]);
    expect(readFileSync(paths![1]!, "utf8")).toBe('{"text":"b"}\n');
    expect(readdirSync(join(snapshot, "main"))).toEqual(["train-0.jsonl", "train-1.jsonl"]);
    expect(hub.requests.filter((request) => /png|test|more/.test(request))).toEqual([]);
    const { totalBytes, loadedBytes } = progress.at(-1)!;
    expect(loadedBytes).toBe(totalBytes);
  });

  it.each([
    ["owner/words:test", ["main/test.jsonl"]],
    ["owner/words:main", ["main/train-0.jsonl", "main/train-1.jsonl"]],
    ["owner/words:extra/validation", ["more/validation.jsonl"]],
    [`owner/words@${commit}:main/test`, ["main/test.jsonl"]],
    ["hf://datasets/owner/words:test", ["main/test.jsonl"]],
    ["hf://datasets/owner/words/main/train-1.jsonl", ["main/train-1.jsonl"]],
    ["hf://datasets/owner/words@main/more", ["more/validation.jsonl"]],
    ["hf://datasets/owner/words/*/t{est,rain-[0-9]}.jsonl", Object.keys(files).slice(1, 4)],
  ])("%s names its files", async (reference, expected) => {
    const { ask } = await setUp();
    expect(await ask(reference)).toEqual(expected);
  });

  it.each([
    ["owner/words:tst", /"tst"; there are train, test[\s\S]*owner\/words:main\/test/],
    ["owner/words:extra", /split must be named[\s\S]*owner\/words:extra\/validation/],
    ["owner/words:mein/test", /"mein"; there are main, extra[\s\S]*owner\/words:main/],
    ["hf://datasets/owner/words/man/test.jsonl", /did you mean main\/test\.jsonl/],
    ["owner/wrods", /dataset "owner\/wrods"[\s\S]*404[\s\S]*spelling/],
  ])("%s is refused with what there is", async (reference, pattern) => {
    const { ask } = await setUp();
    await expectFault(ask(reference), pattern);
  });

  it("is not asked for offline, and comes from the cache", async () => {
    const { ask, hub } = await setUp();
    await ask("owner/words");
    const count = hub.requests.length;
    const offline = { HF_HUB_OFFLINE: "1" };
    expect(await ask("owner/words", offline)).toHaveLength(2);
    await expectFault(ask("owner/words:test", offline), /offline, a dataset must be in the cache/);
    expect(hub.requests).toHaveLength(count);
    expect(await ask("owner/words", { HF_ENDPOINT: "http://127.0.0.1:9" })).toHaveLength(2);
  });

  it("leaves nothing of a split in the snapshot that was not downloaded whole", async () => {
    const { environment, snapshot } = await setUp();
    const stop = new AbortController();
    const work = resolveDataset("owner/words", {
      ...options,
      environment,
      signal: stop.signal,
      onProgress: ({ file }) => file === "main/train-1.jsonl" && stop.abort(),
    });
    await expect(work).rejects.toThrow(/abort/i);
    expect(() => readdirSync(snapshot)).toThrow(/ENOENT/);
  });
});

describe("without a card that says more, the names of files tell the split:", () => {
  it.each([
    [
      "shards",
      ["data/train-00000-of-00001.parquet", "data/unsupervised-00000-of-00001.parquet"],
      0,
    ],
    ["a word of the path", ["a/dev.jsonl", "a/my-training.jsonl", "other.jsonl"], 1],
    ["a folder", ["test/a.jsonl", "train/a.jsonl"], 1],
    ["nothing: all is for training", ["tale.jsonl"], 0],
  ])("%s", async (_, paths, expected) => {
    const held = {
      "README.md": "# Words",
      ...Object.fromEntries(paths.map((path) => [path, "{}"])),
    };
    const { ask } = await setUp(held);
    expect(await ask("owner/words")).toEqual([paths[expected]]);
  });

  it("a repository that holds only a script is told how to be read", async () => {
    const { ask } = await setUp({ "words.py": "" });
    await expectFault(ask("owner/words"), /words\.py[\s\S]*refs\/convert\/parquet/);
  });
});

it.each([
  ["owner/name", { repository: "owner/name", revision: "main", parts: [] }],
  ["owner/na.me@v1.0:a/b", { repository: "owner/na.me", revision: "v1.0", parts: ["a", "b"] }],
  [
    "hf://datasets/owner/name@refs/convert/parquet/default/train",
    {
      repository: "owner/name",
      revision: "refs/convert/parquet",
      parts: [],
      path: "default/train",
    },
  ],
  ["owner/name/file.jsonl", undefined],
  ["train.jsonl", undefined],
  ["./owner/name", undefined],
  ["hf://datasets/owner/name/../x", undefined],
  ["hf://owner/name", undefined],
])("%s is read rightly", (reference, expected) => {
  expect(parseDatasetReference(reference)).toEqual(expected);
});
