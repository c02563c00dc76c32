// A conversation with an exported model, computed in this page. The address says how: `?dtype=q4` for another
// of the types that were exported, `device=webgpu`, `temperature=0.7` to draw words, `tokens=256` for the
// longest answer. Nothing is fetched from elsewhere.

import {
  AutoModelForCausalLM,
  AutoTokenizer,
  env,
  TextStreamer,
} from "./transformers/transformers.min.js";

env.allowLocalModels = true;
env.allowRemoteModels = false;
env.localModelPath = "./";
// What the browser's cache holds it takes unasked, also after the next export.
env.useBrowserCache = false;
env.backends.onnx.wasm.wasmPaths = new URL("./onnxruntime-web/", location.href).href;

const settings = new URLSearchParams(location.search);
const temperature = Number(settings.get("temperature") ?? 0);
const sampling = {
  do_sample: temperature > 0,
  ...(temperature > 0 && { temperature }),
  max_new_tokens: Number(settings.get("tokens") ?? 256),
};

const form = document.querySelector("form");
const button = form.querySelector("button");
const status = document.querySelector("#status");

function fail(error) {
  status.textContent = `failed: ${error.message ?? error}`;
}

async function load() {
  const tokenizer = await AutoTokenizer.from_pretrained("model");
  const model = await AutoModelForCausalLM.from_pretrained("model", {
    device: settings.get("device") ?? "wasm",
    // Left out, it is the first type that was exported.
    dtype: settings.get("dtype") ?? "auto",
  });
  return { tokenizer, model };
}

const messages = [];

function show(role, text) {
  const paragraph = document.createElement("p");
  paragraph.className = role;
  paragraph.textContent = text;
  document.querySelector("#messages").append(paragraph);
  return paragraph;
}

async function answer(question) {
  const { tokenizer, model } = globalThis.chat;
  messages.push({ role: "user", content: question });
  show("user", question);
  const shown = show("assistant", "");
  const inputs = tokenizer.apply_chat_template(messages, {
    add_generation_prompt: true,
    return_dict: true,
  });
  const streamer = new TextStreamer(tokenizer, {
    skip_prompt: true,
    skip_special_tokens: true,
    callback_function: (piece) => {
      shown.textContent += piece;
    },
  });
  await model.generate({ ...inputs, ...sampling, streamer });
  messages.push({ role: "assistant", content: shown.textContent });
}

function setReady() {
  status.textContent = "ready";
  button.disabled = false;
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const question = form.question.value.trim();
  if (button.disabled || !question) return;
  form.reset();
  button.disabled = true;
  status.textContent = "answering";
  await answer(question).then(setReady, fail);
});
load().then((loaded) => {
  // For the browser's console, too.
  globalThis.chat = loaded;
  setReady();
}, fail);
