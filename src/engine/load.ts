// Opening a model: checkpoint, architecture, method and parameters put together.

import { type Checkpoint, openCheckpoint } from "../hub/index.ts";
import { bindMethod, type MethodOptions, type ModelDescription } from "../methods/index.ts";
import { architectureFor } from "../models/index.ts";
import { createRuntime } from "../runtime/kernel.ts";
import { createNetwork } from "./network.ts";
import { createParameters } from "./parameters.ts";
import { loadWeights } from "./weights.ts";
