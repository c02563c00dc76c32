// A number as decimal digits, as JavaScript writes it but without an exponent.

/** The digits before and behind the point of a number that is not below 0. */
export function decimal(value: number): { readonly whole: string; readonly fraction: string } {
  const [mantissa, exponent = "0"] = String(value).split("e");
  const [before, after = ""] = mantissa!.split(".");
  const shift = Number(exponent);
  const all = "0".repeat(Math.max(0, -shift)) + before + after + "0".repeat(Math.max(0, shift));
  const point = before!.length + shift + Math.max(0, -shift);
  return {
    whole: all.slice(0, point).replace(/^0+(?=\d)/, ""),
    fraction: all.slice(point).replace(/0+$/, ""),
  };
}
