// The exported model's page in a real Chromium: examples/browser served out of a folder where transformers.js
// is installed, and a page open in it.

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { delimiter, join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

/** A folder where `npm install puppeteer-core @huggingface/transformers` was run. */
export const browserFolder = process.env.TUNESMITH_BROWSER;

/** The program, by `TUNESMITH_CHROMIUM` or on the PATH. */
export const chromium: string | undefined =
  process.env.TUNESMITH_CHROMIUM ??
  (process.env.PATH ?? "")
    .split(delimiter)
    .flatMap((folder) =>
      ["chromium", "chromium-browser", "google-chrome"].map((each) => join(folder, each)),
    )
    .find(existsSync);

/** Imports a package of that folder, which is not among the dependencies. */
export async function importInstalled<Module>(name: string): Promise<Module> {
  const path = createRequire(resolve(browserFolder!, "here.js")).resolve(name);
  return (await import(pathToFileURL(path).href)) as Module;
}

/** What is used of puppeteer-core. */
export interface Page {
  goto(address: string): Promise<unknown>;
  /** Runs an expression in the page, and waits where it is a promise. */
  evaluate(expression: string): Promise<unknown>;
  waitForFunction(expression: string, options: { timeout: number }): Promise<unknown>;
  type(selector: string, text: string): Promise<void>;
  on(event: "request", listener: (request: { url(): string }) => void): void;
  readonly keyboard: { press(key: string): Promise<void> };
}
interface Puppeteer {
  launch(options: object): Promise<{ newPage(): Promise<Page>; close(): Promise<void> }>;
}

export interface OpenPage {
  readonly page: Page;
  /** Where it is served, ending in a slash. */
  readonly address: string;
  /**
   * Loads it anew, by the settings in its address.
   * @throws Error with what the page says where that fails
   */
  load(settings: Readonly<Record<string, string>>): Promise<void>;
  /** Waits until it has loaded or answered. Throws as `load`. */
  idle(): Promise<void>;
  /** Everything that it asked for. */
  readonly requests: readonly string[];
  close(): Promise<void>;
}

/** WebGPU on the processor, where there is no card. */
const SOFTWARE_GPU = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"];
/** Chromium keeps no sandbox for root. */
const AS_ROOT = process.getuid?.() === 0 ? ["--no-sandbox"] : [];

/** Serves an exported folder and opens a browser, in which nothing is loaded yet. */
export async function openPage(exported: string): Promise<OpenPage> {
  const program = join(import.meta.dirname, "../../examples/browser/serve.ts");
  const server = spawn(process.execPath, [program, exported, "0"], {
    cwd: browserFolder,
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [address] = await new Promise<[string]>((done, fail) => {
    createInterface(server.stdout).once("line", (line) => done([line]));
    server.once("exit", (code) => fail(new Error(`serve.ts ended with ${code}`)));
  });
  const { default: puppeteer } = await importInstalled<{ default: Puppeteer }>("puppeteer-core");
  const browser = await puppeteer.launch({
    executablePath: chromium,
    args: [...AS_ROOT, ...SOFTWARE_GPU],
    protocolTimeout: 1_200_000,
  });
  const page = await browser.newPage();
  const requests: string[] = [];
  page.on("request", (request) => void requests.push(request.url()));
  const status = `document.querySelector("#status").textContent`;
  async function idle(): Promise<void> {
    await page.waitForFunction(`/^(ready|failed)/.test(${status})`, { timeout: 1_200_000 });
    const said = await page.evaluate(status);
    if (said !== "ready") throw new Error(String(said));
  }
  return {
    page,
    address,
    requests,
    idle,
    async load(settings) {
      await page.goto(`${address}?${new URLSearchParams(settings)}`);
      await idle();
    },
    async close() {
      await browser.close();
      server.kill();
    },
  };
}
