// What a line of a conversation that begins with a slash does instead of being said.

import { TunesmithError } from "../errors.ts";
import type { Conversation } from "../recipe/conversation.ts";
import type { Message } from "../recipe/prompts.ts";
import type { Console } from "./console.ts";

/** How far a conversation has come. */
export interface ChatState {
  readonly messages: readonly Message[];
  /** Files, shown with the next message. */
  readonly images: readonly string[];
}

interface Surroundings {
  readonly console: Console;
  readonly conversation: Conversation;
  /** How a conversation begins. */
  readonly start: ChatState;
}

interface ChatCommand {
  /** As people write it. */
  readonly usage: string;
  readonly does: string;
  /** What the conversation is afterwards; undefined: over. */
  run(
    state: ChatState,
    rest: string,
    surroundings: Surroundings,
  ): ChatState | undefined | Promise<ChatState>;
}

const COMMANDS: Readonly<Record<string, ChatCommand>> = {
  "/new": {
    usage: "/new",
    does: "starts another conversation",
    run: (_state, _rest, { start }) => ({ ...start, images: [] }),
  },
  "/image": {
    usage: "/image FILE",
    does: "shows an image with the next message, to models that see",
    run: async (state, path, surroundings) => ({
      ...state,
      images: [...state.images, ...(await shownImage(path, surroundings))],
    }),
  },
  "/help": {
    usage: "/help",
    does: "tells these commands",
    run(state, _rest, { console }) {
      console.err(`${console.errColors.dim(chatHelp())}\n`);
      return state;
    },
  },
  "/exit": { usage: "/exit", does: "ends the program, as Ctrl-D does", run: () => undefined },
};

/** A line for each command. */
export const chatHelp = (): string =>
  Object.values(COMMANDS)
    .map(({ usage, does }) => `${usage.padEnd(11)}  ${does}`)
    .join("\n");

/**
 * Does what a line asks for, where it begins with the name of a command; a name that there is not is told,
 * since it was hardly meant for the model.
 *
 * @returns "said" for a line that is for the model, the state afterwards otherwise; undefined where it ends
 */
export async function obeyLine(
  line: string,
  state: ChatState,
  surroundings: Surroundings,
): Promise<ChatState | "said" | undefined> {
  const [, name, rest = ""] = /^(\/[a-z]+)(?:\s+(.*\S))?\s*$/.exec(line) ?? [];
  if (name === undefined) return "said";
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (command) return command.run(state, rest, surroundings);
  const { err, errColors } = surroundings.console;
  const known = Object.keys(COMMANDS).join(", ");
  err(`${errColors.yellow(name)} is none of ${known}; a space in front says it to the model\n`);
  return state;
}

/** The image of that path, if it is one; says what it takes, or what is wrong with it. */
async function shownImage(
  named: string,
  { console, conversation }: Surroundings,
): Promise<readonly string[]> {
  const { dim, yellow } = console.errColors;
  if (named === "") {
    console.err(`${yellow("image")} name its file: /image photo.jpg\n`);
    return [];
  }
  // A file that is dropped on a terminal comes in quotes.
  const path = named.replace(/^(["'])(.*)\1$/, "$2");
  try {
    const { tokens } = await conversation.openImage(path);
    console.err(`${dim(`image ${path}: ${tokens} tokens, shown with your next message`)}\n`);
    return [path];
  } catch (error) {
    if (!(error instanceof TunesmithError)) throw error;
    console.err(`${yellow("image")} ${error.message}\n`);
    return [];
  }
}
