// What LoRA computes at one module, a linear one or an embedding, with DoRA's scale or without.

import {
  add,
  constant,
  gatherRows,
  linear,
  matmul,
  multiply,
  reshape,
  subtract,
  type Tensor,
  transpose,
} from "../../tensor/index.ts";
import type { MethodScope } from "../method.ts";
import { doraScale } from "./dora-scale.ts";
import type { LoraSite } from "./lora-sites.ts";

/** s · B A x, and what B adds besides. The scaling is part of the product: no pass of its own. */
function lowRank(site: LoraSite, inner: Tensor, scope: MethodScope): Tensor {
  const { scaling: scale, b, bias } = site;
  const product = matmul(inner, scope.parameter(b), { transposeB: true, scale });
  return bias ? add(product, multiply(scope.parameter(bias), constant(scale))) : product;
}

/** y = W x + b + s · B A dropout(x), [rows, out]; with DoRA in the direction of that. `base` is the frozen module. */
export function adaptedLinear(
  site: LoraSite,
  x: Tensor,
  base: (x: Tensor) => Tensor,
  dropout: number,
  scope: MethodScope,
): Tensor {
  const dropped = scope.dropout(x, dropout, site.path);
  const added = lowRank(site, linear(dropped, scope.parameter(site.a)), scope);
  if (!site.dora) return add(added, base(x));
  // The bias has no part in directions and lengths.
  const bias = site.hasBias ? scope.weight(`${site.path}.bias`) : undefined;
  const scale = doraScale(site, site.dora, scope);
  const product = bias ? subtract(base(dropped), bias) : base(dropped);
  if (dropped === x) {
    const y = multiply(scale, add(added, product));
    return bias ? add(y, bias) : y;
  }
  // As PEFT has it: what was dropped is missing from the change alone.
  const change = add(multiply(subtract(scale, constant(1)), product), multiply(scale, added));
  return add(change, base(x));
}

/** @param x embedded tokens [rows, hidden], as they are without the adapter */
export function adaptedEmbedding(site: LoraSite, x: Tensor, scope: MethodScope, scale = 1): Tensor {
  const rows = gatherRows(transpose(scope.parameter(site.a), [1, 0]), scope.tokenIds());
  const added = lowRank(site, reshape(rows, [x.shape[0]!, site.rank]), scope);
  const y = add(scale === 1 ? added : multiply(added, constant(scale)), x);
  return site.dora ? multiply(doraScale(site, site.dora, scope), y) : y;
}
