// For Node: finds the module beside this file.
import { readFile } from "node:fs/promises";
import { load as compile } from "./index.js";

export { Verifier, digest } from "./index.js";

/** As `load` of the package, with the module that comes with it when none is given. */
export async function load(wasm) {
  return compile(wasm ?? (await readFile(new URL("./dsperse_verify.wasm", import.meta.url))));
}
