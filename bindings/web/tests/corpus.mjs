// The files that the program, the npm package, the page and the Python package must agree on: what
// a cheat does, and 100 files with a bit flipped or the end missing.
//
//   node corpus.mjs DIR    writes them there, with index.json: what the program says of each
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { entries, program, random, smallest, zipped } from "./files.mjs";

const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");
const small = smallest();
const good = entries(small.bytes);
const json = (content) => JSON.parse(content.toString());
/** The smallest sample, changed and packed again. */
export const packed = (change) => {
  const list = good.map(({ name, content }) => ({ name, content: Buffer.from(content) }));
  return zipped(change(list) ?? list);
};
const find = (list, end) => list.find(({ name }) => name.endsWith(end));
const edit = (list, end, change) => {
  const entry = find(list, end);
  const value = json(entry.content);
  change(value);
  entry.content = Buffer.from(JSON.stringify(value));
};

const flip = (entry) => (entry.content[entry.content.length >> 1] ^= 1);
const reseal = (list) => {
  const index = find(list, "tensors/index.json");
  const tensors = json(index.content);
  for (const record of tensors.tensors) {
    record.sha256 = sha256(find(list, `run/tensors/${record.path}`).content);
  }
  index.content = Buffer.from(JSON.stringify(tensors));
  edit(list, "run_results.json", (r) => {
    for (const file of r.slices.flatMap((s) => s.proof_execution?.files ?? [])) {
      file.sha256 = sha256(find(list, `run/${file.path}`).content);
    }
  });
};
const artefacts = json(find(good, "slice_0/metadata.json").content).compilations.sumcheck.artefacts;
const keyPath = `slices/slice_0/${artefacts.find((a) => a.role === "verifying").path}`;
const key = (list) => list.find(({ name }) => name === keyPath);
const proof = (list) => list.find(({ name }) => name.startsWith("run/slice_0/sumcheck/"));
/** What a cheat does, by name. Nobody may accept any of it. */
const rows = {
  "proof flipped": (l) => void flip(proof(l)),
  "proof flipped, digests too": (l) => (flip(proof(l)), reseal(l)),
  "key flipped": (l) => void flip(key(l)),
  "tensor flipped": (l) => void flip(l.find(({ name }) => name.endsWith(".bin") && name.startsWith("run/tensors/"))),
  "tensor flipped, digests too": (l) => (flip(l.find(({ name }) => name.endsWith(".bin") && name.startsWith("run/tensors/"))), reseal(l)),
  "output named otherwise": (l) => edit(l, "run_results.json", (r) => (r.output_sha256 = "0".repeat(64))),
  "run of another model": (l) => edit(l, "run_results.json", (r) => (r.model_identity = "0".repeat(64))),
  "slice dropped from the results": (l) => edit(l, "run_results.json", (r) => r.slices.pop()),
  "slice twice in the results": (l) => edit(l, "run_results.json", (r) => r.slices.push(r.slices[0])),
  "identity replaced": (l) => edit(l, "slices/metadata.json", (m) => (m.identity = "0".repeat(64))),
  "shares dressed up": (l) => edit(l, "slices/metadata.json", (m) => (m.slices[0].macs = 1)),
  "slice of another index": (l) => edit(l, "slice_0/metadata.json", (s) => (s.index = 1)),
  "key path climbs out": (l) => edit(l, "slice_0/metadata.json", (s) => (s.compilations.sumcheck.artefacts.find((a) => a.role === "verifying").path = "../key")),
  "proof path absolute": (l) => edit(l, "run_results.json", (r) => (r.slices[0].proof_execution.files[0].path = "/etc/passwd")),
  "another version": (l) => edit(l, "slice_0/metadata.json", (s) => (s.compilations.sumcheck.backend_version = "99.0.0")),
  "another backend": (l) => edit(l, "run_results.json", (r) => (r.slices[0].backend = "jstprove")),
  "future results": (l) => edit(l, "run_results.json", (r) => (r.schema = "2.0.0")),
  "future archive": (l) => edit(l, "dsproof.json", (m) => (m.schema = "2.0.0")),
  "no mark": (l) => l.filter(({ name }) => name !== "dsproof.json"),
  "no proof": (l) => l.filter((e) => e !== proof(l)),
  "entry that climbs out": (l) => [...l, { name: "../x", content: Buffer.from("x") }],
  "entry of another kind": (l) => [...l, { name: "other", content: Buffer.from("x") }],
  "entry twice": (l) => [...l, { name: "run/run_results.json", content: Buffer.from("x") }],
  "entry that differs in case": (l) => [...l, { name: "RUN/run_results.json", content: Buffer.from("x") }],
};

/** The n-th mutated file. */
function mutated(n, pick) {
  if (n % 20 === 0) {
    return small.bytes.subarray(0, pick(small.bytes.length));
  }
  if (n % 4 === 0) {
    const bytes = Buffer.from(small.bytes);
    bytes[pick(bytes.length)] ^= 1 << pick(8);
    return bytes;
  }
  // In an entry, with a checksum that fits; every other one in a document.
  return packed((list) => {
    const some = n % 2 ? list.filter(({ name }) => name.endsWith(".json")) : list;
    const { content } = some[pick(some.length)];
    content[pick(content.length)] ^= 1 << pick(8);
  });
}

/** Writes the files and what the program says of them. */
export function write(dir) {
  rmSync(dir, { recursive: true, force: true });
  mkdirSync(dir, { recursive: true });
  const pick = random(Number(process.env.DSPERSE_SEED ?? 1));
  const made = Object.entries(rows).map(([name, change]) => ({ name, cheat: true, bytes: packed(change) }));
  for (let n = 0; n < 100; n += 1) {
    made.push({ name: `mutation ${n}`, cheat: false, bytes: mutated(n, pick) });
  }
  const index = made.map(({ name, cheat, bytes }, n) => {
    const file = `${n}.dsproof`;
    writeFileSync(join(dir, file), bytes);
    const said = program(join(dir, file));
    return { name, cheat, file, accepted: said.accepted, verdicts: said.report?.slices.map((s) => s.verdict) ?? null };
  });
  writeFileSync(join(dir, "index.json"), JSON.stringify(index, null, 1));
}

/** The files that `write` made, with what the program said of each. */
export function corpus() {
  const dir = process.env.DSPERSE_WEB_CORPUS;
  const index = JSON.parse(readFileSync(join(dir, "index.json")));
  return index.map((row) => ({ ...row, path: join(dir, row.file) }));
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  write(process.argv[2]);
}
