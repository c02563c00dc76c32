import { describe, expect, it } from "vitest";
import { parseSpelled, toJson, withFloats } from "./number-spelling.ts";

const TEXT = `{
  "router_jitter_noise": 0.0,
  "rms_norm_eps": 1e-05,
  "hidden_size": 32,
  "model_max_length": 1000000000000000019884624838656,
  "rope_parameters": {
    "rope_theta": 10000.0,
    "short_factor": [
      1.0,
      1.5,
      2
    ]
  }
}
`;

describe("numbers as their file spells them", () => {
  it("are written as they were read", () => {
    const read = parseSpelled(TEXT) as object;
    expect(toJson(read)).toBe(TEXT);
    expect(JSON.stringify(read)).toBe(JSON.stringify(JSON.parse(TEXT)));
  });

  it("keep it in a copy, from which others are gone", () => {
    const { model_max_length: _, ...rest } = parseSpelled(TEXT) as Record<string, unknown>;
    expect(toJson({ ...rest, dtype: "float16" })).toContain('"router_jitter_noise": 0.0,');
  });

  it("are other numbers' no more", () => {
    const read = parseSpelled('{"a": 0.0, "b": 0.0}') as object;
    expect(JSON.parse(toJson({ ...read, a: 1 }))).toEqual({ a: 1, b: 0 });
    expect(toJson({ ...read, a: 1 })).toContain('"a": 1,');
  });

  it("may be given to what is made here", () => {
    const value = withFloats({ softcap: 30, layers: 2, scale: null }, ["softcap", "scale"]);
    expect(toJson(value)).toBe('{\n  "softcap": 30.0,\n  "layers": 2,\n  "scale": null\n}\n');
  });
});
