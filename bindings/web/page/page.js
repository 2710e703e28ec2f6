const element = (id) => document.getElementById(id);
const wasm = Uint8Array.from(atob(WASM), (c) => c.charCodeAt(0));
let running = null;

// Text from a file: no control characters, nothing that turns the direction of reading, not
// endless.
function plain(text) {
  const shown = String(text).replace(
    /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g,
    (c) => `\\u{${c.codePointAt(0).toString(16)}}`,
  );
  return shown.length > 2000 ? `${shown.slice(0, 2000)}… (${shown.length} characters)` : shown;
}

function cell(row, text, kind) {
  const td = row.insertCell();
  td.textContent = plain(text);
  if (kind) {
    td.className = kind;
  }
}

const WORDS = { unchecked: "unchecked here", proven: "proven", recomputed: "recomputed", failed: "failed" };

function showSlice(s) {
  const row = element("slices").insertRow();
  cell(row, s.index);
  cell(row, WORDS[s.verdict] ?? s.verdict, WORDS[s.verdict] ? s.verdict : "failed");
  cell(row, s.backend ? `${s.backend} ${s.backend_version ?? ""}` : "");
  cell(row, [s.reason, s.hint, ...(s.warnings ?? [])].filter(Boolean).join("; "));
}

function list(id, items) {
  element(id).replaceChildren(
    ...items.map((text) => {
      const li = document.createElement("li");
      li.textContent = plain(text);
      return li;
    }),
  );
}

const percent = (share, of) =>
  share === null || share === undefined ? `no ${of} to prove` : `${(100 * share).toFixed(1)} % of the ${of}`;

function showFacts(report) {
  const facts = [
    ["Model identity", report.model_identity],
    ["ONNX file, SHA-256", report.model_sha256],
    ["Input", report.input_sha256],
    ["Output", report.output_sha256],
    ["Verifying keys", report.keys_sha256 ?? "none: nothing was proven"],
    ["Proven", `${percent(report.proven_by_parameters, "parameters")}, ${percent(report.proven_by_macs, "multiply-accumulates")}`],
  ];
  element("facts").replaceChildren(
    ...facts.flatMap(([term, text]) => {
      const dt = document.createElement("dt");
      const dd = document.createElement("dd");
      dt.textContent = term;
      dd.textContent = plain(text);
      return [dt, dd];
    }),
  );
}

function notes(report) {
  const out = [...report.failures];
  const { unchecked, proven } = report.counts;
  if (unchecked > 0) {
    out.push(`${unchecked} of ${report.slices.length} slices could not be checked here; "dsperse verify FILE" may be able to.`);
  }
  if (proven === 0) {
    out.push("Nothing was proven.");
  }
  if (report.slices.some((s) => s.keys === "as_given")) {
    out.push("The keys were taken as they lie in this file. If somebody else packed it, ask whoever compiled the model for the digest of the keys and the model's identity, and demand them above.");
  }
  const error = report.fidelity?.error;
  out.push(
    typeof error === "number"
      ? `How far the output is from the float model's was not measured here; the prover noted a largest relative error of ${error.toExponential(2)}.`
      : "How far the output is from the float model's was not measured here.",
  );
  return out;
}

function finish(outcome, name, milliseconds) {
  running?.terminate();
  running = null;
  element("work").hidden = true;
  element("result").hidden = false;
  const verdict = element("verdict");
  verdict.className = outcome.accepted ? "good" : "bad";
  verdict.textContent = plain(`${outcome.accepted ? "Accepted" : "Rejected"}: ${name}`);
  element("slices").replaceChildren();
  if (outcome.report) {
    outcome.report.slices.forEach(showSlice);
    showFacts(outcome.report);
    list("notes", notes(outcome.report));
  } else {
    element("facts").replaceChildren();
    list("notes", [outcome.refused]);
  }
  document.body.dataset.outcome = outcome.accepted ? "accepted" : "rejected";
  document.body.dataset.milliseconds = String(milliseconds);
}

async function verify(file) {
  running?.terminate();
  element("slices").replaceChildren();
  element("result").hidden = true;
  element("work").hidden = false;
  element("progress").value = 0;
  element("step").textContent = "Reading";
  delete document.body.dataset.outcome;
  const start = performance.now();
  const done = (outcome) => finish(outcome, file.name, Math.round(performance.now() - start));
  const rejected = (why) => done({ accepted: false, report: null, refused: why });
  const demands = { require: element("require").value };
  for (const id of ["expectModel", "expectKeys"]) {
    const text = element(id).value.trim();
    if (text) {
      demands[id] = text;
    }
  }
  try {
    const bytes = new Uint8Array(await file.arrayBuffer());
    const url = URL.createObjectURL(new Blob([WORKER], { type: "text/javascript" }));
    const worker = new Worker(url);
    URL.revokeObjectURL(url);
    running = worker;
    worker.onerror = (e) => rejected(`the verification broke off: ${e.message ?? "the worker failed"}`);
    worker.onmessageerror = () => rejected("the verification broke off");
    worker.onmessage = ({ data }) => {
      if (running !== worker) {
        return;
      }
      if (data.outcome) {
        done(data.outcome);
        return;
      }
      const { done: n, of, verdict } = data.progress;
      element("progress").max = of;
      element("progress").value = n;
      element("step").textContent = `Slice ${Math.min(n + 1, of)} of ${of}`;
      if (verdict) {
        element("result").hidden = false;
        element("verdict").className = "";
        element("verdict").textContent = "Not finished";
        showSlice(verdict);
      }
    };
    worker.postMessage({ wasm, file: bytes, demands }, [bytes.buffer]);
  } catch (error) {
    rejected(`the file can't be read: ${error.message}`);
  }
}

element("file").addEventListener("change", (e) => {
  const [file] = e.target.files;
  e.target.value = "";
  if (file) {
    verify(file);
  }
});
element("stop").addEventListener("click", () =>
  finish({ accepted: false, report: null, refused: "stopped before there was a verdict" }, "not finished", 0),
);
const drop = element("drop");
for (const kind of ["dragenter", "dragover"]) {
  document.addEventListener(kind, (e) => {
    e.preventDefault();
    drop.classList.add("over");
  });
}
document.addEventListener("dragleave", () => drop.classList.remove("over"));
document.addEventListener("drop", (e) => {
  e.preventDefault();
  drop.classList.remove("over");
  const [file] = e.dataTransfer.files;
  if (file) {
    verify(file);
  }
});
element("about").textContent =
  `DSperse ${VERSION}. Proofs of the sumcheck backend are checked; slices with other proofs are unchecked here. WebAssembly SHA-256 ${DIGEST}.`;
