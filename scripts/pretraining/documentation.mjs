/**
 * Collects English prose from the documentation that npm packages carry: README paragraphs and doc comments of their
 * type declarations. Code, tables, links and markup are left out.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/**
 * @param {string[]} packages folders of installed packages
 * @returns {string[]} paragraphs in a fixed order, without duplicates
 */
export function collectDocumentation(packages) {
  const paragraphs = new Set();
  for (const folder of packages) {
    for (const file of listFiles(folder)) {
      const text = readFileSync(file, "utf8");
      const blocks = file.endsWith(".md") ? markdownBlocks(text) : commentBlocks(text);
      for (const block of blocks) {
        const clean = cleanParagraph(block);
        if (isProse(clean)) paragraphs.add(clean);
      }
    }
  }
  return [...paragraphs];
}

/** READMEs and declarations below a folder, sorted, nested packages excluded. */
function listFiles(folder) {
  return readdirSync(folder, { withFileTypes: true })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) return entry.name === "node_modules" ? [] : listFiles(path);
      return /^readme.*\.md$|\.d\.[cm]?ts$/i.test(entry.name) ? [path] : [];
    });
}

function markdownBlocks(text) {
  return text.replace(/^(```|~~~)[\s\S]*?^\1/gm, "\n\n").split(/\n\s*\n/);
}

function commentBlocks(text) {
  return [...text.matchAll(/\/\*\*([\s\S]*?)\*\//g)].flatMap(([, body]) =>
    body
      .replace(/^\s*\* ?/gm, "")
      .replace(/^(```|~~~)[\s\S]*?^\1/gm, "\n\n")
      .replace(/^\s*@\w+.*$/gm, "\n\n")
      .split(/\n\s*\n/),
  );
}

function cleanParagraph(block) {
  return block
    .replace(/!?\[([^\]]*)\]\([^)]*\)/g, "$1")
    .replace(/\{@link\s+([^}|]*)[^}]*\}/g, "$1")
    .replace(/<[^>]*>/g, "")
    .replace(/[`*]+/g, "")
    .replace(/^\s*[-#>\d.]+\s+/gm, "")
    .replace(/\s+/g, " ")
    .trim();
}

/** Keeps sentences: long enough, mostly letters, no markup or addresses left. */
function isProse(text) {
  if (text.length < 50 || text.length > 700) return false;
  if (
    /https?:|[|{}\\=<>[\]]|[^\x20-\x7e]/.test(text) ||
    !/^[A-Z]/.test(text) ||
    !/[.:]$/.test(text)
  )
    return false;
  return (text.match(/[a-z ]/g)?.length ?? 0) > 0.88 * text.length;
}
