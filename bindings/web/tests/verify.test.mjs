// The npm package in Node, against the program: node --test bindings/web/tests
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import test from "node:test";
import { dist, entries, files, program, random, samples, zipped } from "./files.mjs";

const { load, digest, Verifier } = await import(pathToFileURL(join(dist, "npm", "node.js")));
const verifier = await load();
const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");
const verdicts = (outcome) => outcome.report?.slices.map((s) => s.verdict) ?? null;
assert.ok(files().length > 0, `no samples in ${samples}: scripts/test-web.sh makes them`);

for (const { name, path, bytes } of files()) {
  test(`${name} is accepted, with the digests of the program`, async (t) => {
    const turns = [];
    const start = performance.now();
    const outcome = await verifier.verify(bytes, { require: "proven" }, (p) => turns.push(p));
    t.diagnostic(`${(performance.now() - start).toFixed(1)} ms, ${outcome.report?.slices.length} slices, ${bytes.length} bytes`);
    assert.equal(outcome.refused, null);
    assert.ok(outcome.accepted, JSON.stringify(outcome.report.failures));
    const native = program(path, "--require", "proven");
    for (const field of ["model_identity", "model_sha256", "input_sha256", "output_sha256", "keys_sha256", "counts", "proven_share", "require"]) {
      assert.deepEqual(outcome.report[field], native.report[field], field);
    }
    assert.equal(outcome.report.slices[0].plugin_sha256, digest);
    assert.equal(turns.at(-1).done, outcome.report.slices.length);
    // Pinned, and pinned to something else.
    const pins = { expectModel: native.report.model_identity, expectKeys: native.report.keys_sha256 };
    assert.equal((await verifier.verify(bytes, pins)).report.slices[0].keys, "pinned");
    const other = "0".repeat(64);
    assert.match((await verifier.verify(bytes, { expectModel: other })).refused, /another model/);
    assert.match((await verifier.verify(bytes, { expectKeys: other })).report.failures[0], /others than expected/);
  });
}

test("the digest is that of the module", () => {
  assert.equal(digest, sha256(readFileSync(join(dist, "npm", "dsperse_verify.wasm"))));
});

// A small file for tampering.
const small = files().reduce((a, b) => (a.bytes.length <= b.bytes.length ? a : b));
const good = entries(small.bytes);
const json = (content) => JSON.parse(content.toString());
const packed = (change) => {
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

test("an archive that was packed again is the same claim", async () => {
  assert.ok((await verifier.verify(packed(() => {}))).accepted);
});

test("what a cheat does is rejected", async (t) => {
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
  const dir = mkdtempSync(join(tmpdir(), "dsperse-web-"));
  t.after(() => rmSync(dir, { recursive: true }));
  for (const [name, change] of Object.entries(rows)) {
    const bytes = packed(change);
    const outcome = await verifier.verify(bytes);
    assert.equal(outcome.accepted, false, name);
    assert.ok(outcome.refused ?? outcome.report, name);
    const path = join(dir, "t.dsproof");
    writeFileSync(path, bytes);
    const native = program(path);
    assert.equal(native.accepted, false, `${name}: the program accepts it`);
    assert.deepEqual(verdicts(outcome), verdicts(native), name);
  }
});

test("100 mutated files have the program's verdict", async (t) => {
  const dir = mkdtempSync(join(tmpdir(), "dsperse-web-"));
  t.after(() => rmSync(dir, { recursive: true }));
  const pick = random(Number(process.env.DSPERSE_SEED ?? 1));
  let accepted = 0;
  for (let n = 0; n < 100; n += 1) {
    let bytes;
    if (n % 4 === 0) {
      // Anywhere in the archive, or cut.
      bytes = Buffer.from(small.bytes);
      if (n % 20 === 0) {
        bytes = bytes.subarray(0, pick(bytes.length));
      } else {
        bytes[pick(bytes.length)] ^= 1 << pick(8);
      }
    } else {
      // In an entry, with a checksum that fits; every other one in a document.
      bytes = packed((list) => {
        const some = n % 2 ? list.filter(({ name }) => name.endsWith(".json")) : list;
        const { content } = some[pick(some.length)];
        content[pick(content.length)] ^= 1 << pick(8);
      });
    }
    const path = join(dir, "m.dsproof");
    writeFileSync(path, bytes);
    const [web, native] = [await verifier.verify(bytes), program(path)];
    const words = `file ${n}: ${web.refused ?? web.report.failures} / ${native.refused ?? native.report.failures}`;
    assert.equal(web.accepted, native.accepted, words);
    assert.deepEqual(verdicts(web), verdicts(native), words);
    accepted += web.accepted ? 1 : 0;
  }
  t.diagnostic(`${accepted} of 100 changed nothing that counts`);
  assert.ok(accepted < 60, "most bits carry meaning");
});

test("what is no packed proof is rejected, and the next file is not the worse for it", async () => {
  for (const bytes of [Buffer.alloc(0), Buffer.from("PK"), Buffer.from("nonsense"), Buffer.alloc(100_000)]) {
    const outcome = await verifier.verify(bytes);
    assert.equal(outcome.accepted, false);
    assert.equal(typeof outcome.refused, "string");
  }
  assert.match((await verifier.verify(small.bytes, { requier: "proven" })).refused, /options are wrong/);
  assert.ok((await verifier.verify(small.bytes)).accepted);
});

test("a lack of memory is a rejection", async () => {
  const outcome = await verifier.verify(new Uint8Array(1_300_000_000));
  assert.equal(outcome.accepted, false);
  assert.match(outcome.refused, /broke off/);
  assert.ok((await verifier.verify(small.bytes)).accepted);
});

test("a trap is a rejection", async () => {
  // A module that lacks everything: whatever goes wrong is said, and not thrown.
  const empty = new Verifier(await WebAssembly.compile(Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0)));
  assert.equal((await empty.verify(small.bytes)).accepted, false);
});
