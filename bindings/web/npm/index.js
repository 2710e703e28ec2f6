// The verifier for browsers, Node and other JavaScript engines with WebAssembly.
import { instance, digest } from "./instance.js";

/** A module to verify with; see `load`. */
class Verifier {
  #module;

  constructor(module) {
    this.#module = module;
  }

  /**
   * Verifies a packed proof. Never throws because of the file: whatever can't be judged, traps
   * or takes too much memory is rejected.
   */
  async verify(file, demands = {}, progress = undefined) {
    const bytes = await bytesOf(file);
    const options = JSON.stringify(demands);
    let proof;
    try {
      const wasm = instance(this.#module);
      proof = new wasm.Proof(bytes, options, digest);
      const slices = proof.slices;
      for (let index = 0; index < slices; index += 1) {
        progress?.({ done: index, of: slices });
        // A turn for whoever shows the progress.
        await new Promise((turn) => setTimeout(turn, 0));
        const verdict = JSON.parse(proof.slice(index));
        progress?.({ done: index + 1, of: slices, verdict });
      }
      const report = JSON.parse(proof.report());
      return { accepted: report.accepted === true, report, refused: null };
    } catch (error) {
      return { accepted: false, report: null, refused: reason(error) };
    }
  }
}

/** Why there is no report. */
function reason(error) {
  if (typeof error === "string") {
    return error;
  }
  if (error instanceof WebAssembly.RuntimeError || error instanceof RangeError) {
    return `the verification broke off (${error.message}): the file is malformed, or needs more memory than there is`;
  }
  return `the verification broke off: ${error?.message ?? error}`;
}

async function bytesOf(file) {
  if (file instanceof Uint8Array) {
    return file;
  }
  if (file instanceof ArrayBuffer) {
    return new Uint8Array(file);
  }
  if (typeof file?.arrayBuffer === "function") {
    return new Uint8Array(await file.arrayBuffer());
  }
  throw new TypeError("expected a Uint8Array, an ArrayBuffer or a Blob");
}

/**
 * Compiles the module: its bytes, a `Response` with them, or a compiled module.
 */
async function load(wasm) {
  let module = wasm;
  if (typeof Response !== "undefined" && wasm instanceof Response) {
    module = await WebAssembly.compile(await wasm.arrayBuffer());
  } else if (!(wasm instanceof WebAssembly.Module)) {
    module = await WebAssembly.compile(wasm);
  }
  return new Verifier(module);
}

export { Verifier, load, digest };
