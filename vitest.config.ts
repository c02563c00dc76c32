import { defineConfig } from "vitest/config";

// Tiers: pure and engine tests sit beside the source; tests/ holds end-to-end and parity suites.
export default defineConfig({
  test: {
    pool: "forks",
    maxWorkers: 2,
    include: ["src/**/*.test.ts", "tests/**/*.test.ts"],
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
