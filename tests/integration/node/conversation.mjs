// How a script here talks to its test: settings on the command line, one line each way at a time.
import { createInterface } from "node:readline/promises";

const lines = createInterface({ input: process.stdin });

export const settings = JSON.parse(process.argv[2]);

export async function openInBrowser(address) {
  const [answer] = await Promise.all([
    new Promise((resolve) => lines.once("line", resolve)),
    console.log(JSON.stringify({ open: address })),
  ]);
  return new URL(answer);
}

export function finish(result) {
  console.log(JSON.stringify(result));
  lines.close();
}
