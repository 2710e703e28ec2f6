// Puts the npm package and the page together from what wasm-bindgen made.
//
//   node build.mjs BINDGEN_DIR
//
// dist/npm   the package: index.js, index.d.ts, instance.js, dsperse_verify.wasm
// dist/verify.html   one file with everything in it

import { createHash } from "node:crypto";
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const here = dirname(fileURLToPath(import.meta.url));
const bindgen = process.argv[2];
if (!bindgen) {
  console.error("error: which directory did wasm-bindgen write to?");
  process.exit(2);
}
const text = (...path) => readFileSync(join(here, ...path), "utf8");
const sha256 = (bytes, form) => createHash("sha256").update(bytes).digest(form);

const dist = join(here, "dist");
const npm = join(dist, "npm");
rmSync(dist, { recursive: true, force: true });
mkdirSync(npm, { recursive: true });

const wasm = readFileSync(join(bindgen, "dsperse_verify_bg.wasm"));
const digest = sha256(wasm, "hex");
const version = /^version = "(.*)"$/m.exec(
  text("..", "..", "Cargo.toml").split("[workspace.package]")[1],
)[1];

// wasm-bindgen's own code keeps the instance in a variable of its scope. In a function of its
// own, each call has an instance of its own: one that trapped is thrown away.
const glue = readFileSync(join(bindgen, "dsperse_verify.js"), "utf8");
const instance = `// Made by wasm-bindgen, in a function: each call gives an instance of its own.
export function instance(module) {
${glue}
wasm_bindgen.initSync({ module });
return wasm_bindgen;
}
export const digest = "${digest}";
`;
writeFileSync(join(npm, "instance.js"), instance);
writeFileSync(join(npm, "dsperse_verify.wasm"), wasm);
for (const name of ["index.js", "node.js", "index.d.ts", "README.md"]) {
  cpSync(join(here, "npm", name), join(npm, name));
}
for (const name of ["LICENSE-MIT", "LICENSE-APACHE"]) {
  cpSync(join(here, "..", "..", name), join(npm, name));
}
const manifest = JSON.parse(text("npm", "package.json"));
writeFileSync(join(npm, "package.json"), JSON.stringify({ ...manifest, version }, null, 2) + "\n");

// The page: no module, no request, nothing but this file. What may run is named by its digest.
const plain = (source) =>
  source.replace(/^export \{[^}]*\};?$/gm, "").replace(/^import .*$/gm, "").replace(/^export /gm, "");
const library = `${plain(instance)}\n${plain(text("npm", "index.js"))}`;
const worker = `"use strict";\n${library}\n${text("page", "worker.js")}`;
const script = `"use strict";
const WASM = "${wasm.toString("base64")}";
const WORKER = ${JSON.stringify(worker).replace(/<\//g, "<\\/")};
const VERSION = ${JSON.stringify(version)};
const DIGEST = "${digest}";
${text("page", "page.js")}`;
const style = text("page", "page.css");
const policy = [
  "default-src 'none'",
  `script-src 'sha256-${sha256(script, "base64")}' 'wasm-unsafe-eval'`,
  `style-src 'sha256-${sha256(style, "base64")}'`,
  "worker-src blob:",
  "base-uri 'none'",
  "form-action 'none'",
].join("; ");
const fill = { POLICY: policy, STYLE: style, SCRIPT: script };
const page = text("page", "page.html").replace(/\{\{(\w+)\}\}/g, (_, name) => fill[name]);
writeFileSync(join(dist, "verify.html"), page);

const size = (bytes) => `${(bytes.length / 1000).toFixed(0)} kB, ${(gzipSync(bytes, { level: 9 }).length / 1000).toFixed(0)} kB gzipped`;
console.log(`dsperse_verify.wasm  ${size(wasm)}`);
console.log(`verify.html          ${size(Buffer.from(page))}`);
