// Serves a page in which a model answers inside the browser: the folder that `tunesmith export --format onnx`
// wrote, and transformers.js out of the current folder, where `npm install @huggingface/transformers` was run.
//
//     node examples/browser/serve.ts web [port]

import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import type { AddressInfo } from "node:net";
import { dirname, extname, join, resolve } from "node:path";

const [, , model = "web", port = "8080"] = process.argv;

const folderOf = (name: string, from: string) => dirname(createRequire(from).resolve(name));
const transformers = folderOf("@huggingface/transformers", resolve("here.js"));
const wasm = "onnxruntime-web/ort-wasm-simd-threaded.wasm";

/** Folders by what addresses start with. */
const FOLDERS: Readonly<Record<string, string>> = {
  model: resolve(model),
  transformers,
  "onnxruntime-web": folderOf(wasm, join(transformers, "here.js")),
};
const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".json": "application/json",
  ".mjs": "text/javascript",
  ".wasm": "application/wasm",
};
/** Browsers give threads only to pages that nothing from elsewhere is mixed into. */
const ISOLATED = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
};

const server = createServer(async ({ url = "/" }, response) => {
  // The parser of addresses leaves no `..` in a path; what is escaped in it stays so.
  const path = URL.parse(`http://localhost${url}`)?.pathname.slice(1);
  const [first = "", ...rest] = (path || "index.html").split("/");
  const folder = FOLDERS[first];
  const file = folder ? join(folder, ...rest) : join(import.meta.dirname, first);
  const found = await stat(file).catch(() => undefined);
  if (!found?.isFile()) return response.writeHead(404).end();
  const type = TYPES[extname(file)] ?? "application/octet-stream";
  response.writeHead(200, { ...ISOLATED, "Content-Type": type, "Content-Length": found.size });
  createReadStream(file).pipe(response);
});
server.listen(Number(port), "localhost", () =>
  console.log(`http://localhost:${(server.address() as AddressInfo).port}/`),
);
