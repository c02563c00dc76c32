// What a classifier's logits cost, by problem, row by row. The means over rows are those of Transformers'
// `ForSequenceClassificationLoss` (CrossEntropyLoss, BCEWithLogitsLoss, MSELoss of torch).

import type { Problem } from "../../models/index.ts";
import {
  abs,
  add,
  constant,
  exp,
  gatherRows,
  log,
  maximum,
  multiply,
  negate,
  relu,
  reshape,
  stopGradient,
  subtract,
  sum,
  type Tensor,
} from "../../tensor/index.ts";

/** Negative log-likelihood [rows, 1] of the logits at `columns`, places in the flat [rows · count]. */
export function crossEntropy(logits: Tensor, columns: Tensor): Tensor {
  const [rows, count] = logits.shape as [number, number];
  const target = gatherRows(reshape(logits, [rows * count, 1]), columns);
  const largest = stopGradient(maximum(logits, [1]));
  const total = sum(exp(subtract(logits, largest)), [1]);
  return subtract(add(log(total), largest), target);
}

const meanOfRow = (x: Tensor): Tensor => multiply(sum(x, [1]), constant(1 / x.shape[1]!));

/** From logits and values of one shape [rows, labels] to losses [rows, 1]. */
export const VALUE_LOSSES: Readonly<
  Record<
    Exclude<Problem, "single_label_classification">,
    (logits: Tensor, values: Tensor) => Tensor
  >
> = {
  regression(logits, values) {
    const difference = subtract(logits, values);
    return meanOfRow(multiply(difference, difference));
  },
  // −y log σ(z) − (1 − y) log(1 − σ(z)) = max(z, 0) − z y + log(1 + exp(−|z|)), which never overflows.
  multi_label_classification(logits, values) {
    const rest = log(add(exp(negate(abs(logits))), constant(1)));
    return meanOfRow(add(subtract(relu(logits), multiply(logits, values)), rest));
  },
};
