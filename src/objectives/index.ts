// Objectives beside continuing texts: what a classifier learns, says, and is measured by.

export { type Agreement, countAgreement } from "./agreement.ts";
export { createLabelReader, describeLabel, findLabels } from "./labels.ts";
export { type Verdict, verdictOf } from "./verdict.ts";
