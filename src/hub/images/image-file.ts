// Whether a path is that of a file that may be an image, before anything decodes it.

import { readdir, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { nearest, TunesmithError } from "../../errors.ts";

/** Addresses, and images written out as text. */
const ELSEWHERE = /^(?:https?|ftp|s3|gs|hf|data|file):/i;

/** Whether a text names an image that is no file of this disk. */
export const isElsewhere = (image: string): boolean => ELSEWHERE.test(image);

/** @throws TunesmithError (data) for an address, a file that is not there, a folder and an empty file */
export async function checkImageFile(path: string): Promise<void> {
  if (isElsewhere(path)) throw elsewhere(path);
  const found = await stat(path).catch(() => undefined);
  if (!found) throw await missing(path);
  if (found.isFile() && found.size > 0) return;
  throw new TunesmithError("data", {
    where: path,
    rule: "an image is a file with something in it",
    seen: found.isFile() ? "a file of 0 bytes" : "a folder",
    fix: "name the image's file, or fetch it again",
  });
}

const elsewhere = (image: string) =>
  new TunesmithError("data", {
    where: image.length > 60 ? `${image.slice(0, 60)}…` : image,
    rule: "an image is a file on this disk: nothing is downloaded while data are read",
    seen: /^data:/i.test(image) ? "an image written out as text" : "an address",
    fix: "save it as a file, and name that",
  });

async function missing(path: string): Promise<TunesmithError> {
  const siblings = await readdir(dirname(path)).catch(() => []);
  const near = nearest(basename(path), siblings);
  return new TunesmithError("data", {
    where: path,
    rule: "the image must exist",
    seen: "no file of that name",
    fix: near
      ? `did you mean ${join(dirname(path), near)}?`
      : "check the path; in data it is relative to the data file",
  });
}
