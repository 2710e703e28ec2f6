// The npm package in Node, against the program: node --test bindings/web/tests
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import test from "node:test";
import { corpus, packed } from "./corpus.mjs";
import { dist, files, program, samples, smallest } from "./files.mjs";
import { withTrap } from "./trap.mjs";

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

const small = smallest();

test("an archive that was packed again is the same claim", async () => {
  assert.ok((await verifier.verify(packed(() => {}))).accepted);
});

test("all agree on what a cheat does, and on 100 mutated files", async (t) => {
  const rows = corpus();
  for (const { name, path, cheat, accepted, verdicts: native } of rows) {
    const outcome = await verifier.verify(readFileSync(path));
    assert.ok(outcome.refused ?? outcome.report, name);
    assert.equal(outcome.accepted, accepted, `${name}: ${outcome.refused ?? outcome.report.failures}`);
    assert.deepEqual(verdicts(outcome), native, name);
    assert.ok(!(cheat && accepted), `${name} is accepted`);
  }
  const same = rows.filter(({ accepted }) => accepted).length;
  t.diagnostic(`${rows.length} files; ${same} of 100 mutations changed nothing that counts`);
  assert.ok(same < 60, "most bits carry meaning");
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
  const honest = readFileSync(join(dist, "npm", "dsperse_verify.wasm"));
  for (const name of ["proof_new", "proof_slice", "proof_report"]) {
    const trapping = new Verifier(await WebAssembly.compile(withTrap(honest, name)));
    const outcome = await trapping.verify(small.bytes);
    assert.equal(outcome.accepted, false, name);
    assert.match(outcome.refused, /broke off \(unreachable\)/, name);
  }
  // A module that lacks everything: whatever goes wrong is said, and not thrown.
  const empty = new Verifier(await WebAssembly.compile(Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0)));
  assert.equal((await empty.verify(small.bytes)).accepted, false);
});
