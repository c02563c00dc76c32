// Downloads against a local server that speaks the hub's documented protocol (testing/hub-server.ts):
// there is no network here.

import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { expectFault, temporaryFolder } from "../testing/files.ts";
import { oids, type ServedRepository, startHub } from "../testing/hub-server.ts";
import type { DownloadProgress } from "./fetch-repository.ts";
import type { Environment } from "./hub-cache.ts";
import { parseHubReference } from "./model-reference.ts";
import { resolveModel } from "./resolve-model.ts";

const commit = "0123456789abcdef0123456789abcdef01234567";
const weights = Uint8Array.from({ length: 200_000 }, (_, i) => (i * 7) % 251);
const weightsOid = oids(weights).sha256;
const served: ServedRepository = {
  repository: "owner/tiny",
  commit,
  revisions: ["v1.0", "refs/pr/1"],
  files: {
    "config.json": '{"model_type":"llama"}',
    "tokenizer.json": "{}",
    "README.md": "# tiny",
    "model.safetensors": weights,
    "pytorch_model.bin": "boom",
    "onnx/model.safetensors": "no",
  },
};

async function setUp(model: ServedRepository = served, more: Environment = {}) {
  const hub = await startHub(model);
  const cache = temporaryFolder();
  const environment: Environment = { HF_HOME: cache, HF_ENDPOINT: hub.url, ...more };
  const folder = join(cache, "hub", "models--owner--tiny");
  return {
    hub,
    cache,
    folder,
    environment,
    incomplete: join(folder, "blobs", `${weightsOid}.incomplete`),
  };
}

describe("a hub id", () => {
  it("is downloaded in the layout of the Python tools, and only what a model is loaded from", async () => {
    const { folder, environment, hub } = await setUp();
    const progress: DownloadProgress[] = [];
    const path = await resolveModel("owner/tiny", {
      environment,
      onProgress: (event) => progress.push(event),
    });
    expect(path).toBe(join(folder, "snapshots", commit));
    expect(readdirSync(path).sort()).toEqual([
      "config.json",
      "model.safetensors",
      "tokenizer.json",
    ]);
    expect(readlinkSync(join(path, "model.safetensors"))).toBe(
      join("..", "..", "blobs", weightsOid),
    );
    expect(new Uint8Array(readFileSync(join(path, "model.safetensors")))).toEqual(weights);
    expect(readFileSync(join(folder, "refs", "main"), "utf8")).toBe(commit);
    expect(readdirSync(join(folder, "blobs"))).toHaveLength(3);
    expect(hub.requests.filter((request) => /\.bin|onnx|README/.test(request))).toEqual([]);

    const { totalBytes } = progress.at(-1)!;
    expect(progress.at(-1)).toEqual({
      file: "model.safetensors",
      loadedBytes: totalBytes,
      totalBytes,
    });
    const loaded = progress.map(({ loadedBytes }) => loadedBytes);
    expect(loaded).toEqual([...loaded].sort((a, b) => a - b));
  });

  it("is not downloaded twice, and not at all offline", async () => {
    const { environment, hub } = await setUp();
    const path = await resolveModel("hf://owner/tiny@v1.0", { environment });
    const before = hub.requests.filter((request) => request.includes("resolve")).length;
    expect(await resolveModel("owner/tiny@v1.0", { environment })).toBe(path);
    expect(hub.requests.filter((request) => request.includes("resolve"))).toHaveLength(before);

    const count = hub.requests.length;
    const offline = { ...environment, HF_HUB_OFFLINE: "1" };
    expect(await resolveModel("owner/tiny@v1.0", { environment: offline })).toBe(path);
    expect(await resolveModel(`owner/tiny@${commit}`, { environment: offline })).toBe(path);
    await expectFault(
      resolveModel("owner/tiny@other", { environment: offline }),
      /offline[\s\S]*HF_HUB_OFFLINE/,
    );
    expect(hub.requests).toHaveLength(count);
  });

  it("comes from the cache where the hub cannot be reached", async () => {
    const { environment } = await setUp();
    const path = await resolveModel("owner/tiny", { environment });
    const unreachable = { ...environment, HF_ENDPOINT: "http://127.0.0.1:9" };
    expect(await resolveModel("owner/tiny", { environment: unreachable })).toBe(path);
    await expectFault(
      resolveModel("owner/other", { environment: unreachable }),
      /fetch failed[\s\S]*check the network/,
    );
  });
});

describe("an interrupted download", () => {
  it("goes on where the connection broke", async () => {
    const { environment, hub } = await setUp();
    hub.trouble.breakAfter = 90_000;
    const path = await resolveModel("owner/tiny", { environment });
    expect(new Uint8Array(readFileSync(join(path, "model.safetensors")))).toEqual(weights);
    const ranges = hub.requests.filter((request) => /bytes=[1-9]/.test(request));
    expect(ranges.length).toBeGreaterThan(0);
  });

  it("goes on where an earlier process stopped", async () => {
    const { environment, hub, incomplete } = await setUp();
    mkdirSync(join(incomplete, ".."), { recursive: true });
    writeFileSync(incomplete, weights.subarray(0, 150_000));
    await resolveModel("owner/tiny", { environment });
    expect(hub.requests).toContain(
      `GET /owner/tiny/resolve/${commit}/model.safetensors bytes=150000-199999`,
    );
    expect(existsSync(incomplete)).toBe(false);
  });

  it("starts again where what was there is not the file's beginning", async () => {
    const { environment, incomplete } = await setUp();
    mkdirSync(join(incomplete, ".."), { recursive: true });
    writeFileSync(incomplete, new Uint8Array(150_000));
    const path = await resolveModel("owner/tiny", { environment });
    expect(new Uint8Array(readFileSync(join(path, "model.safetensors")))).toEqual(weights);
  });

  it("ends in an error where bytes keep arriving damaged, and leaves no model behind", async () => {
    const { environment, hub, folder } = await setUp();
    hub.trouble.corrupt = true;
    await expectFault(resolveModel("owner/tiny", { environment }), /arrived damaged/);
    expect(existsSync(join(folder, "refs", "main"))).toBe(false);
    expect(existsSync(join(folder, "blobs", weightsOid))).toBe(false);
  });

  it("stops when asked to", async () => {
    const { environment } = await setUp();
    const stop = new AbortController();
    const work = resolveModel("owner/tiny", {
      environment,
      signal: stop.signal,
      onProgress: ({ file }) => file === "model.safetensors" && stop.abort(),
    });
    await expect(work).rejects.toThrow(/abort/i);
  });
});

describe("access", () => {
  const gated: ServedRepository = { ...served, token: "hf_secret" };

  it("comes from the option, HF_TOKEN or the stored token, in this order", async () => {
    const { environment, cache, hub } = await setUp(gated);
    writeFileSync(join(cache, "token"), "hf_stored\n");
    const attempt = (more: Environment, token?: string) =>
      resolveModel("owner/tiny", {
        environment: { ...environment, ...more },
        ...(token && { token }),
      }).catch(() => "refused");
    expect(await attempt({})).toBe("refused");
    expect(await attempt({ HF_TOKEN: "hf_variable" })).toBe("refused");
    expect(await attempt({ HF_TOKEN: "hf_variable" }, "hf_secret")).toMatch(/snapshots/);
    expect([...hub.authorizations]).toEqual([
      "Bearer hf_stored",
      "Bearer hf_variable",
      "Bearer hf_secret",
    ]);
  });

  it("that is refused says what to do, and never the token", async () => {
    const { environment } = await setUp(gated);
    const work = resolveModel("owner/tiny", { environment, token: "hf_wrong" });
    await expectFault(work, /401[\s\S]*HF_TOKEN/);
    await expect(work).rejects.not.toThrow(/hf_wrong/);
  });
});

describe("what a repository may hold", () => {
  const holding = (files: ServedRepository["files"]) => setUp({ ...served, files });

  it("shards, by their index", async () => {
    const { environment } = await holding({
      "config.json": "{}",
      "model.safetensors.index.json": "{}",
      "model-00001-of-00002.safetensors": "a",
      "model-00002-of-00002.safetensors": "b",
      "consolidated.safetensors": "c",
    });
    const path = await resolveModel("owner/tiny", { environment });
    expect(readdirSync(path)).toHaveLength(4);
    expect(existsSync(join(path, "consolidated.safetensors"))).toBe(false);
  });

  it("one GGUF, or several of which one is named", async () => {
    const one = await holding({ "tiny.Q8_0.gguf": "g", "README.md": "" });
    const path = await resolveModel("owner/tiny", one);
    expect(readdirSync(path)).toEqual(["tiny.Q8_0.gguf"]);
    const two = await holding({ "a.gguf": "a", "sub/b.gguf": "b", "c.gguf": "c" });
    await expectFault(resolveModel("owner/tiny", two), /owner\/tiny\/a\.gguf/);
    await expectFault(resolveModel("owner/tiny/d.gguf", two), /no "d\.gguf"/);
    const file = await resolveModel("hf://owner/tiny/sub/b.gguf@main", two);
    expect(readFileSync(file, "utf8")).toBe("b");
  });

  it("not only pickles, not nothing", async () => {
    await expectFault(
      resolveModel("owner/tiny", await holding({ "config.json": "{}", "pytorch_model.bin": "" })),
      /only the pickle file "pytorch_model\.bin"/,
    );
    await expectFault(resolveModel("owner/tiny", await holding({ "a.txt": "" })), /no weights/);
  });
});

describe("a reference", () => {
  it("that exists as a path is that path", async () => {
    const folder = temporaryFolder();
    expect(await resolveModel(folder)).toBe(folder);
  });

  it("that is neither a path nor a hub id names the nearest path", async () => {
    const folder = temporaryFolder();
    mkdirSync(join(folder, "SmolLM2-135M"));
    await expectFault(
      resolveModel(join(folder, "SmolM2-135M")),
      new RegExp(`nearest is "${folder}/SmolLM2-135M"`),
    );
    await expectFault(resolveModel("./no/such/thing"), /a folder, a \.gguf file, or a hub id/);
  });

  it("that nobody knows is told from a path", async () => {
    const { environment } = await setUp();
    await expectFault(resolveModel("owner/tinny", { environment }), /404[\s\S]*spelling/);
  });

  it.each([
    ["owner/name", { repository: "owner/name", revision: "main" }],
    ["hf://owner/na.me-2_x", { repository: "owner/na.me-2_x", revision: "main" }],
    ["owner/name@refs/pr/1", { repository: "owner/name", revision: "refs/pr/1" }],
    ["owner/name/x.gguf@v1", { repository: "owner/name", revision: "v1", file: "x.gguf" }],
    ["models/x.gguf", undefined],
    ["name", undefined],
    ["../owner/name", undefined],
    ["./name", undefined],
    ["/owner/name", undefined],
    ["owner/name@../../x", undefined],
    ["https://somewhere/owner/name", undefined],
    ["a/b/c", undefined],
  ])("%s is read rightly", (reference, expected) => {
    expect(parseHubReference(reference)).toEqual(expected);
  });
});
