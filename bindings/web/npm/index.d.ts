/** What is demanded of a verification. An unknown demand is an error. */
export interface Demands {
  /** What every slice must be; `"checked"` when left out. */
  require?: "proven" | "checked" | "any";
  /** The model identity that the slices must have, 64 hexadecimal digits. */
  expectModel?: string;
  /** The digest that the verifying keys must have, 64 hexadecimal digits. */
  expectKeys?: string;
  /** Largest relative error of the output against the float model, by the prover's note. */
  maxError?: number;
  /** Count proofs of inputs that the circuit saw only clamped to its range. */
  allowSaturation?: boolean;
}

export type Verdict = "proven" | "recomputed" | "unchecked" | "failed";

/** The verdict on one slice; all fields are in docs/verification-report.md. */
export interface SliceVerdict {
  index: number;
  verdict: Verdict;
  backend: string | null;
  backend_version: string | null;
  /** Why, unless proven. */
  reason: string | null;
  /** What the user can do. */
  hint?: string;
  /** Where the verifying key comes from: `"as_given"` or `"pinned"`. */
  keys: "as_given" | "recompiled" | "pinned" | null;
  payload_sha256: string;
  warnings?: string[];
  [field: string]: unknown;
}

/** The document that `dsperse verify --json` prints. */
export interface VerificationReport {
  schema: string;
  tool_version: string;
  model_identity: string;
  model_sha256: string;
  input_sha256: string;
  output_sha256: string;
  keys_sha256: string | null;
  require: "proven" | "checked" | "any";
  accepted: boolean;
  slices: SliceVerdict[];
  /** What is wrong with the run as a whole. */
  failures: string[];
  counts: { proven: number; recomputed: number; unchecked: number; failed: number };
  /** Share of the parameters in proven slices, 0 to 1. */
  proven_by_parameters: number | null;
  /** Share of the multiply-accumulates in proven slices, 0 to 1. */
  proven_by_macs: number | null;
  /** How far the output is from the float model's, as the prover noted it. */
  fidelity: { error?: number | null; target?: number | null; [field: string]: unknown } | null;
  [field: string]: unknown;
}

export interface Progress {
  /** Slices that were judged. */
  done: number;
  of: number;
  /** The verdict on the slice that was judged just now. */
  verdict?: SliceVerdict;
}

export interface Outcome {
  /** Whether the claim is accepted under the demands. */
  accepted: boolean;
  /** The report; `null` when no verdict was reached. */
  report: VerificationReport | null;
  /** Why there is no report: the file is none, is damaged or hostile, or broke the verifier. */
  refused: string | null;
}

export class Verifier {
  private constructor();
  /** Verifies a packed proof (`.dsproof`), slice by slice. Nothing leaves this machine. */
  verify(
    file: Uint8Array | ArrayBuffer | Blob,
    demands?: Demands,
    progress?: (progress: Progress) => void,
  ): Promise<Outcome>;
}

/**
 * Compiles the WebAssembly module. In Node it is found beside the package; elsewhere give its
 * bytes, or the response of a `fetch` for `dsperse_verify.wasm`.
 */
export function load(wasm?: BufferSource | Response | WebAssembly.Module): Promise<Verifier>;

/** SHA-256 of the module, which reports name as the library of the backend. */
export const digest: string;
