// What this machine offers to training: processor and its vector instructions, memory, disk, the
// versions that matter, and where files are kept. Nothing here is needed to train.

import { readFile, statfs } from "node:fs/promises";
import { availableParallelism, cpus, freemem, totalmem } from "node:os";
import { hubCacheFolder } from "../hub/index.ts";

export interface Machine {
  readonly system: string;
  readonly processor: string;
  /** Those of `KNOWN_FEATURES` that it has; undefined where the system does not say. */
  readonly features: readonly string[] | undefined;
  /** Cores that this process may use, and all of them. */
  readonly cores: { readonly usable: number; readonly total: number };
  /** Bytes. */
  readonly memory: { readonly total: number; readonly available: number };
  /** Bytes in the current folder's file system. */
  readonly disk: { readonly free: number; readonly total: number };
  readonly node: string;
  readonly onnxRuntime: { readonly version: string; readonly backends: readonly string[] };
  /** Where downloaded models are kept. */
  readonly modelCache: string;
}

/** Vector instructions that decide the speed of matrix products, by their name in /proc/cpuinfo. */
const KNOWN_FEATURES: Readonly<Record<string, string>> = {
  avx2: "AVX2",
  fma: "FMA",
  f16c: "F16C",
  avx512f: "AVX-512",
  avx512_bf16: "AVX-512 BF16",
  avx512_vnni: "AVX-512 VNNI",
  avx_vnni: "AVX-VNNI",
  amx_tile: "AMX",
  asimd: "NEON",
  asimddp: "NEON dot product",
  i8mm: "NEON int8 matrix",
  sve: "SVE",
};

/** Looks at the machine; takes milliseconds. */
export async function inspectMachine(): Promise<Machine> {
  const { env, listSupportedBackends } = await import("onnxruntime-node");
  const information = await readFile("/proc/cpuinfo", "utf8").catch(() => undefined);
  const memory = await readFile("/proc/meminfo", "utf8").catch(() => undefined);
  const disk = await statfs(process.cwd());
  const all = cpus();
  return {
    system: `${process.platform} ${process.arch}`,
    processor: all[0]?.model.trim() || "unknown",
    features: information === undefined ? undefined : featuresOf(information),
    cores: { usable: availableParallelism(), total: all.length },
    memory: { total: totalmem(), available: availableMemory(memory) ?? freemem() },
    disk: { free: disk.bavail * disk.bsize, total: disk.blocks * disk.bsize },
    node: process.versions.node,
    onnxRuntime: {
      version: env.versions.node ?? env.versions.common,
      backends: listSupportedBackends()
        .filter(({ bundled }) => bundled)
        .map(({ name }) => name),
    },
    modelCache: hubCacheFolder(process.env),
  };
}

/** The known features in the text of /proc/cpuinfo. */
export function featuresOf(information: string): string[] {
  const line = /^(?:flags|Features)\s*:(.*)$/m.exec(information)?.[1] ?? "";
  const present = new Set(line.trim().split(/\s+/));
  return Object.entries(KNOWN_FEATURES)
    .filter(([flag]) => present.has(flag))
    .map(([, name]) => name);
}

/** Bytes that programs can still take, from the text of /proc/meminfo: free memory plus caches. */
export function availableMemory(information: string | undefined): number | undefined {
  const kilobytes = /^MemAvailable:\s*(\d+) kB$/m.exec(information ?? "")?.[1];
  return kilobytes === undefined ? undefined : Number(kilobytes) * 1024;
}
