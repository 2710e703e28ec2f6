// The page in headless Chromium, opened as a file: node --test bindings/web/tests/page.test.mjs
// puppeteer-core is found by NODE_PATH or below target/; see scripts/test-web.sh.
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import test, { after, before } from "node:test";
import { corpus } from "./corpus.mjs";
import { dist, entries, files, program, smallest, zipped } from "./files.mjs";

const tools = createRequire(process.env.DSPERSE_WEB_TOOLS ?? import.meta.url);
const puppeteer = tools("puppeteer-core");
const dir = mkdtempSync(join(tmpdir(), "dsperse-page-"));
const shots = process.env.DSPERSE_WEB_SHOTS;
let browser;

before(async () => {
  browser = await puppeteer.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-dev-shm-usage"],
  });
});
after(async () => {
  await browser?.close();
  rmSync(dir, { recursive: true });
});

/** The page, opened; `noise` gets every request and every console message. */
async function opened(noise) {
  const page = await browser.newPage();
  await page.setOfflineMode(true);
  page.on("request", (r) => /^(file:.*verify\.html|blob:|data:)/.test(r.url()) || noise.push(`request for ${r.url()}`));
  page.on("pageerror", (e) => noise.push(`error: ${e.message}`));
  page.on("console", (m) => noise.push(`console: ${m.text()}`));
  await page.goto(pathToFileURL(join(dist, "verify.html")).href);
  return page;
}

/** What the page says of a file. */
async function dropped(page, path) {
  await page.evaluate(() => delete document.body.dataset.outcome);
  const input = await page.$("#file");
  await input.uploadFile(path);
  await page.waitForSelector("body[data-outcome]", { timeout: 60_000 });
  return page.evaluate(() => ({
    outcome: document.body.dataset.outcome,
    milliseconds: Number(document.body.dataset.milliseconds),
    text: document.querySelector("main").innerText,
    verdicts: [...document.querySelectorAll("#slices tr")].map((r) => r.cells[1].textContent),
  }));
}

/** What a page of its own says of one file; fails on any request and any console message. */
async function verified(path, { before: prepare, shot } = {}) {
  const noise = [];
  const page = await opened(noise);
  await prepare?.(page);
  const said = await dropped(page, path);
  if (shots && shot) {
    mkdirSync(shots, { recursive: true });
    await page.screenshot({ path: join(shots, `${shot}.png`), fullPage: true });
  }
  await page.close();
  assert.deepEqual(noise, []);
  return said;
}

for (const { name, path } of files()) {
  test(`${name} is accepted with the digests of the program`, async (t) => {
    const native = program(path).report;
    const said = await verified(path, { shot: name });
    t.diagnostic(`${said.milliseconds} ms`);
    assert.equal(said.outcome, "accepted");
    for (const digest of ["model_identity", "model_sha256", "input_sha256", "output_sha256", "keys_sha256"]) {
      assert.ok(said.text.includes(native[digest]), digest);
    }
    assert.deepEqual(said.verdicts, native.slices.map((s) => s.verdict));
  });
}

const small = smallest();
const written = (name, change) => {
  const list = entries(small.bytes);
  const path = join(dir, name);
  writeFileSync(path, zipped(change(list) ?? list));
  return path;
};
const results = (list, change) => {
  const entry = list.find(({ name }) => name === "run/run_results.json");
  const value = JSON.parse(entry.content.toString());
  change(value);
  entry.content = Buffer.from(JSON.stringify(value));
};

test("the page agrees on what a cheat does, and on 100 mutated files", async () => {
  const noise = [];
  const page = await opened(noise);
  for (const { name, path, accepted, verdicts } of corpus()) {
    const said = await dropped(page, path);
    assert.equal(said.outcome, accepted ? "accepted" : "rejected", `${name}: ${said.text}`);
    assert.deepEqual(said.verdicts.map((v) => v.replace(" here", "")), verdicts ?? [], name);
  }
  await page.close();
  assert.deepEqual(noise, []);
});

test("a file that needs more memory than there is, is rejected", async () => {
  const path = join(dir, "endless.dsproof");
  writeFileSync(path, "");
  truncateSync(path, 1_500_000_000);
  const said = await verified(path);
  assert.equal(said.outcome, "rejected");
  assert.match(said.text, /broke off|can't be read/);
});

test("a flipped proof is rejected, and said", async () => {
  const path = written("flipped.dsproof", (list) => {
    const { content } = list.find(({ name }) => name.startsWith("run/slice_0/sumcheck/"));
    content[100] ^= 1;
  });
  const said = await verified(path, { shot: "rejected" });
  assert.equal(said.outcome, "rejected");
  assert.equal(said.verdicts[0], "failed");
  assert.match(said.text, /has been changed/);
});

test("a proof of another backend is unchecked here", async () => {
  const path = written("other.dsproof", (list) => results(list, (r) => (r.slices[0].backend = "jstprove")));
  const said = await verified(path, { shot: "unchecked" });
  assert.equal(said.outcome, "rejected");
  assert.equal(said.verdicts[0], "unchecked here");
  assert.match(said.text, /could not be checked here/);
});

test("text of a file can't write on the page", async () => {
  const evil = '<img src=x onerror="document.title=1">\u202e\u0007';
  const path = written("evil.dsproof", (list) => results(list, (r) => (r.slices[0].backend = evil)));
  const said = await verified(path);
  assert.equal(said.outcome, "rejected");
  assert.ok(said.text.includes("<img src=x"), said.text);
  assert.ok(said.text.includes("\\u{202e}"), said.text);
});

test("what is no packed proof is rejected", async () => {
  const path = join(dir, "nonsense.dsproof");
  writeFileSync(path, Buffer.alloc(50_000, 7));
  const said = await verified(path);
  assert.equal(said.outcome, "rejected");
  assert.match(said.text, /refused/);
});

test("pins are demanded", async () => {
  const said = await verified(small.path, {
    before: async (page) => {
      await page.click("summary");
      await page.type("#expectModel", "0".repeat(64));
    },
  });
  assert.equal(said.outcome, "rejected");
  assert.match(said.text, /slices of another model/);
});
