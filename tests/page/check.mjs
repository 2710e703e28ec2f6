// Looks at the pages of `dsperse report` in headless Chromium as a reader would.
//
//   node check.mjs PATH [--shots DIR]
//
// Checks the file PATH, or every .html file in the directory PATH, and exits with 1 when anything is wrong. What is checked and
// where a page answers the six questions is written down in host/report/tests/browser.rs.
// CHROMIUM names the browser (default: chromium on PATH).
import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const [dir, flag, shots] = process.argv.slice(2);
if (!dir || (flag && flag !== "--shots")) {
  console.error("usage: node check.mjs PATH [--shots DIR]");
  process.exit(2);
}
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const find = () => {
  try {
    return execFileSync("sh", ["-c", "command -v chromium || command -v chromium-browser || command -v google-chrome"], { encoding: "utf8" }).trim();
  } catch {
    console.error("error: there is no Chromium; run scripts/install-browser.sh, or name one with CHROMIUM");
    process.exit(1);
  }
};
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM || find(),
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"],
});

const WIDTHS = [360, 768, 1440];
const MOST_BYTES = 2_000_000;
const QUESTIONS = ["answer-claim", "answer-checked", "answer-by", "answer-not", "answer-faithful", "answer-cost"];
let passed = 0;
const failures = [];

/** A page with everything that must not happen watched. */
async function open(file, options, wrong) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.on("console", (m) => wrong(`console ${m.type()}: ${m.text()}`));
  page.on("pageerror", (e) => wrong(`error: ${e.message}`));
  page.on("dialog", (d) => { wrong(`dialog: ${d.message()}`); d.dismiss(); });
  page.on("request", (r) => {
    const url = r.url();
    if (url !== pathToFileURL(file).href && !url.startsWith("data:")) wrong(`request: ${url}`);
  });
  await page.goto(pathToFileURL(file).href);
  return { context, page };
}

/** What sticks out of the window, or out of a box that does not scroll. */
const overflowing = () => {
  const wide = document.documentElement.clientWidth;
  const found = [];
  if (document.documentElement.scrollWidth > wide) found.push(`document: ${document.documentElement.scrollWidth} in ${wide}`);
  for (const e of document.querySelectorAll("body *")) {
    const box = e.getBoundingClientRect();
    if (box.width === 0 || box.right <= wide + 1) continue;
    if (e.closest(".scroll, nav ul, .sr, .skip, svg")) continue;
    found.push(`${e.tagName.toLowerCase()}.${e.className} ends at ${Math.round(box.right)} of ${wide}`);
  }
  return found.slice(0, 5);
};

async function look(file) {
  const name = basename(file, ".html");
  const wrong = (what) => failures.push(`${name}: ${what}`);
  const before = failures.length;
  const size = statSync(file).size;
  if (size >= MOST_BYTES) wrong(`${size} bytes, wanted are less than ${MOST_BYTES}`);

  for (const width of WIDTHS) {
    for (const colorScheme of width === 1440 ? ["light", "dark"] : ["light"]) {
      const options = { viewport: { width, height: 900 }, colorScheme, reducedMotion: "reduce" };
      const at = `${width} px, ${colorScheme}`;
      const { context, page } = await open(file, options, (what) => wrong(`${at}: ${what}`));
      for (const what of await page.evaluate(overflowing)) wrong(`${at}: sticks out: ${what}`);
      if (shots) {
        mkdirSync(shots, { recursive: true });
        await page.screenshot({ path: join(shots, `${name}-${width}-${colorScheme}.png`), fullPage: width !== 360 });
      }
      // Parts that are closed count too; of many alike a few will do.
      await page.evaluate(() => [...document.querySelectorAll("details")].slice(0, 8).forEach((d) => { d.open = true; }));
      for (const what of await page.evaluate(overflowing)) wrong(`${at}, opened: sticks out: ${what}`);
      // The rules do not depend on the width but for what is hidden on a phone.
      if (width !== 768) {
        await page.evaluate(axe);
        const result = await page.evaluate(() =>
          axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"], resultTypes: ["violations"] }));
        for (const v of result.violations) {
          const node = v.nodes[0];
          wrong(`${at}: axe ${v.id} (${v.nodes.length} times): ${v.help}: ${node.html.slice(0, 160)} ${node.failureSummary.replaceAll("\n", " ").slice(0, 220)}`);
        }
      }
      await context.close();
    }
  }

  const { context, page } = await open(file, { viewport: { width: 1440, height: 900 }, reducedMotion: "reduce" }, wrong);
  // The six questions, as they are shown.
  const two = name.startsWith("compare");
  for (const id of two ? QUESTIONS.flatMap((q) => [`A-${q}`, `B-${q}`]) : QUESTIONS) {
    const card = page.locator(`[id="${id}"]`);
    if (await card.count() !== 1) { wrong(`${id} is there ${await card.count()} times`); continue; }
    const text = (await card.innerText()).trim();
    const visible = await card.isVisible();
    if (!visible || text.split("\n").filter((l) => l.trim()).length < 2) wrong(`${id} answers nothing: ${text}`);
  }
  const sentence = await page.locator(".verdict strong").first().boundingBox();
  if (!sentence || sentence.y > 450) wrong("the verdict is not at the top");

  // Ids are unique and every link inside the page leads somewhere.
  for (const what of await page.evaluate(() => {
    const bad = [];
    const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
    if (new Set(ids).size !== ids.length) bad.push("an id stands twice");
    for (const a of document.querySelectorAll("a[href]")) {
      const to = a.getAttribute("href");
      if (to.startsWith("#") && !document.getElementById(to.slice(1))) bad.push(`${to} leads nowhere`);
    }
    return [...new Set(bad)];
  })) wrong(what);

  // By keyboard: the first stops are the way to the summary and the sections; nothing that
  // can be clicked is left out, and the one that has the focus shows it.
  const stops = [];
  for (let k = 0; k < 40; k += 1) {
    await page.keyboard.press("Tab");
    const stop = await page.evaluate(() => {
      const e = document.activeElement;
      if (!e || e === document.body) return null;
      const style = getComputedStyle(e);
      const inner = e.querySelector?.("rect.body");
      const shown = style.outlineStyle !== "none" || (inner && getComputedStyle(inner).strokeWidth === "3px");
      return { what: e.getAttribute("href") || e.id || e.tagName, shown };
    });
    if (!stop) break;
    stops.push(stop);
  }
  if (stops[0]?.what !== "#summary") wrong(`the first stop of the keyboard is ${stops[0]?.what}`);
  for (const s of stops.filter((s) => !s.shown)) wrong(`the focus is not shown on ${s.what}`);
  const unreachable = await page.evaluate(() =>
    [...document.querySelectorAll("a, button, input, summary, .scroll")]
      .filter((e) => e.tabIndex < 0 && !e.hidden).map((e) => e.outerHTML.slice(0, 80)));
  for (const what of unreachable) wrong(`the keyboard does not reach ${what}`);

  if (!two && await page.locator("details.slice").count() > 0) {
    // A click on a node of the graph opens the slice's part.
    const node = page.locator("svg.drawing:visible a.node.slice").first();
    if (await node.count()) {
      const target = await node.getAttribute("href");
      await node.focus();
      await page.keyboard.press("Enter");
      await page.waitForFunction((t) => document.querySelector(t)?.open, target, { timeout: 3000 })
        .catch(() => wrong(`${target} does not open`));
    }
    // Sorting turns the table around.
    const first = () => page.locator("table.sortable tbody tr td").first().innerText();
    const was = await first();
    await page.locator("table.sortable th button").first().click();
    if (await page.locator("details.slice").count() > 1 && await first() === was) wrong("sorting does nothing");
  }
  // The data inside is JSON, and downloads are what they say.
  const data = await page.evaluate(() => {
    try { return JSON.parse(document.getElementById("dsperse-data").textContent).schema; } catch (e) { return String(e); }
  });
  if (data !== "1.0.0") wrong(`the data inside is ${data}`);
  const link = page.locator("a[download]").first();
  const [download] = await Promise.all([page.waitForEvent("download", { timeout: 5000 }).catch(() => null), link.click()]);
  if (!download || download.suggestedFilename() !== "slices.csv") wrong("slices.csv can't be downloaded");
  await context.close();

  // On paper nothing is cut off: print media, a page's width.
  const paper = await open(file, { viewport: { width: 794, height: 1123 }, colorScheme: "dark", reducedMotion: "reduce" }, wrong);
  await paper.page.emulateMedia({ media: "print" });
  for (const what of await paper.page.evaluate(overflowing)) wrong(`print: sticks out: ${what}`);
  const background = await paper.page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  if (background !== "rgb(255, 255, 255)") wrong(`print: the paper is ${background}`);
  if (shots) await paper.page.screenshot({ path: join(shots, `${name}-print.png`), fullPage: true });
  await paper.context.close();

  if (failures.length === before) passed += 1;
  console.log(`${failures.length === before ? "ok  " : "FAIL"} ${name} (${Math.round(size / 1000)} kB)`);
}

try {
  const files = statSync(dir).isDirectory()
    ? readdirSync(dir).filter((f) => f.endsWith(".html")).sort().map((f) => resolve(dir, f))
    : [resolve(dir)];
  if (files.length === 0) failures.push(`there is no page in ${dir}`);
  for (const f of files) await look(f);
} finally {
  await browser.close();
}
for (const f of failures) console.error(f);
console.log(`${passed} passed, ${new Set(failures.map((f) => f.split(":")[0])).size} failed`);
process.exit(failures.length === 0 ? 0 : 1);
