//! `report`: one self-contained HTML page of sliced models and runs. No script, no link to
//! anything outside; everything that comes from files is escaped.

use crate::error::Result;
use crate::slices::operator_words;
use dsperse_documents::{
    Fallback, Fidelity, ModelMetadata, RunResults, SliceMetadata, SliceRun, StageOutcome, Usage,
    Verdict,
};
use dsperse_store::SliceStore;
use std::fmt::Write as _;

const STYLE: &str = "\
:root{color-scheme:light dark;font:15px/1.5 system-ui,sans-serif}\
body{max-width:72rem;margin:2rem auto;padding:0 1rem}\
table{border-collapse:collapse;width:100%;margin:1rem 0}\
th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #8884;vertical-align:top}\
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}\
code{font-size:.85em;overflow-wrap:anywhere}\
.proven{background:#2a94;}.recomputed{background:#46c3;}.failed{background:#d334;}.unchecked{background:#aa84;}\
.bar{display:flex;height:1.2rem;border-radius:.3rem;overflow:hidden;border:1px solid #8888}\
.bar span{display:block}\
footer{margin-top:3rem;opacity:.7;font-size:.9em}";

/// The page of a model, and of one of its runs when given.
///
/// # Errors
/// When a slice's metadata can't be read.
pub fn page(store: &SliceStore, run: Option<(&str, &RunResults)>) -> Result<String> {
    let model = store.require_model()?;
    let slices = (0..model.slices.len())
        .map(|i| store.slice(i))
        .collect::<Result<Vec<_>, _>>()?;
    let mut out = String::new();
    let title = text(&model.model.name);
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\">\
         <title>DSperse report: {title}</title><style>{STYLE}</style></head><body>\n\
         <h1>{title}</h1>\n"
    );
    overview(&mut out, model);
    if let Some((name, results)) = run {
        run_section(&mut out, model, name, results);
    }
    slice_table(&mut out, &slices, run.map(|(_, r)| r));
    tensor_table(&mut out, model);
    let _ = write!(
        out,
        "<footer>Made by dsperse {}. A verdict on this page is a note of the last \
         <code>dsperse verify</code> on this directory, not a proof: verify the run yourself \
         before you rely on it.</footer>\n</body></html>\n",
        env!("CARGO_PKG_VERSION")
    );
    Ok(out)
}

fn overview(out: &mut String, model: &ModelMetadata) {
    out.push_str("<table>\n");
    let opset = model.opset_imports.get("").map(i64::to_string);
    for (key, value) in [
        ("Slices", model.slices.len().to_string()),
        ("Cut", model.strategy.name.clone()),
        ("Nodes", model.nodes.to_string()),
        ("Parameters", model.parameters.to_string()),
        ("Multiply-accumulates", model.macs.to_string()),
        ("Opset", opset.unwrap_or_else(|| "unknown".to_owned())),
        (
            "ONNX file",
            format!("{} bytes, SHA-256 {}", model.model.size, model.model.sha256),
        ),
        ("Model identity", model.identity.clone()),
    ] {
        let _ = writeln!(
            out,
            "<tr><th>{key}</th><td><code>{}</code></td></tr>",
            text(&value)
        );
    }
    out.push_str("</table>\n");
}

fn run_section(out: &mut String, model: &ModelMetadata, name: &str, results: &RunResults) {
    let _ = writeln!(out, "<h2>Run {}</h2>", text(name));
    share_bar(out, model, results);
    out.push_str("<table>\n");
    let mut rows = vec![
        ("Started", results.started.clone()),
        ("Input", results.input_sha256.clone()),
        (
            "Output",
            results
                .output_sha256
                .clone()
                .unwrap_or_else(|| "not complete".to_owned()),
        ),
    ];
    if !results.engine.name.is_empty() {
        rows.push((
            "Engine",
            format!(
                "{} {} on {}",
                results.engine.name, results.engine.version, results.engine.instruction_set
            ),
        ));
    }
    if let Some(f) = &results.fidelity {
        rows.push(("Against the float model", fidelity(f)));
    }
    for (stage, usage) in &results.totals.stages {
        let word = match stage.as_str() {
            "witness" => "All witnesses",
            "prove" => "All proofs",
            _ => "All verifications",
        };
        rows.push((word, cost(usage)));
    }
    if results.totals.proof_bytes > 0 {
        rows.push(("Size of all proofs", bytes(results.totals.proof_bytes)));
    }
    for (key, value) in rows {
        let _ = writeln!(
            out,
            "<tr><th>{key}</th><td><code>{}</code></td></tr>",
            text(&value)
        );
    }
    out.push_str("</table>\n");
}

/// One stripe per slice, as wide as its share of the multiply-accumulates.
fn share_bar(out: &mut String, model: &ModelMetadata, results: &RunResults) {
    let total: u64 = model.slices.iter().map(|s| s.macs.max(1)).sum();
    out.push_str("<div class=\"bar\" role=\"img\" aria-label=\"Verdict of each slice, by its share of multiply-accumulates\">");
    for s in &model.slices {
        let run = results.slices.iter().find(|r| r.index == s.index);
        let word = verdict(run).map_or("not verified", Verdict::as_str);
        #[allow(clippy::cast_precision_loss)]
        let width = s.macs.max(1) as f64 / total.max(1) as f64 * 100.0;
        let _ = write!(
            out,
            "<span class=\"{word}\" style=\"width:{width:.3}%\" title=\"slice {}: {word}\"></span>",
            s.index
        );
    }
    out.push_str("</div>\n");
}

fn verdict(run: Option<&SliceRun>) -> Option<Verdict> {
    run?.verification_execution.as_ref()?.verdict
}

fn slice_table(out: &mut String, slices: &[SliceMetadata], run: Option<&RunResults>) {
    out.push_str("<h2>Slices</h2>\n<table><tr><th class=\"n\">Slice</th><th>Operators</th><th class=\"n\">Parameters</th><th>Backend</th><th>Compile</th>");
    if run.is_some() {
        out.push_str("<th>Witness</th><th>Proof</th><th>Verify</th><th>Verdict</th>");
    }
    out.push_str("<th>Notes</th></tr>\n");
    for s in slices {
        let r = run.and_then(|r| r.slices.iter().find(|r| r.index == s.index));
        let backend = r.and_then(|r| r.backend.as_ref()).or(s.backend.as_ref());
        let compiled = backend.and_then(|b| s.compilations.get(b));
        let compile = compiled.map_or_else(String::new, |c| {
            let size = c.artefacts.iter().map(|a| a.size).sum();
            format!("{}, {}", cost(&c.usage), bytes(size))
        });
        let _ = write!(
            out,
            "<tr><td class=\"n\">{}</td><td>{}</td><td class=\"n\">{}</td><td>{}</td><td>{compile}</td>",
            s.index,
            text(&operator_words(s)),
            s.parameters,
            text(backend.map_or("-", String::as_str)),
        );
        if run.is_some() {
            for stage in [
                r.and_then(|r| r.witness_execution.as_ref()),
                r.and_then(|r| r.proof_execution.as_ref()),
                r.and_then(|r| r.verification_execution.as_ref()),
            ] {
                let _ = write!(out, "<td>{}</td>", stage.map_or_else(String::new, outcome));
            }
            let word = verdict(r).map_or("", Verdict::as_str);
            let _ = write!(out, "<td class=\"{word}\">{word}</td>");
        }
        let _ = writeln!(out, "<td>{}</td></tr>", notes(s, r));
    }
    out.push_str("</table>\n");
}

fn outcome(stage: &StageOutcome) -> String {
    let size: u64 = stage.files.iter().map(|f| f.size).sum();
    let mut cell = cost(&stage.usage);
    if size > 0 {
        let _ = write!(cell, ", {}", bytes(size));
    }
    if let Some(e) = &stage.error {
        let _ = write!(cell, "<br>{}", text(&e.message));
    }
    cell
}

fn notes(slice: &SliceMetadata, run: Option<&SliceRun>) -> String {
    let mut lines: Vec<String> = Vec::new();
    let at_run = run.and_then(|r| r.witness_execution.as_ref());
    let fallbacks: Vec<&Fallback> = slice
        .fallbacks
        .iter()
        .chain(at_run.iter().flat_map(|w| &w.fallbacks))
        .collect();
    for f in fallbacks {
        lines.push(text(&format!("{}: {}", f.backend, f.reason)));
    }
    if let Some(f) = run.and_then(|r| r.fidelity.as_ref()) {
        lines.push(text(&fidelity(f)));
    }
    lines.join("<br>")
}

fn tensor_table(out: &mut String, model: &ModelMetadata) {
    out.push_str("<h2>Tensors between slices</h2>\n<table><tr><th>Tensor</th><th>Shape</th><th>From</th><th>To</th></tr>\n");
    for e in &model.edges {
        let info = model
            .inputs
            .iter()
            .chain(model.slices.iter().flat_map(|s| &s.outputs))
            .find(|t| t.name == e.tensor);
        let from = e
            .producer
            .map_or_else(|| "model input".to_owned(), |p| format!("slice {p}"));
        let mut to: Vec<String> = e.consumers.iter().map(|c| format!("slice {c}")).collect();
        if e.model_output {
            to.push("model output".to_owned());
        }
        let _ = writeln!(
            out,
            "<tr><td><code>{}</code></td><td>{}</td><td>{from}</td><td>{}</td></tr>",
            text(&e.tensor),
            info.map_or_else(String::new, |t| format!("{:?}", t.shape)),
            to.join(", ")
        );
    }
    out.push_str("</table>\n");
}

fn fidelity(f: &Fidelity) -> String {
    let number = |v: Option<f64>| v.map_or_else(|| "not finite".to_owned(), |v| format!("{v:.3e}"));
    let answer = match f.same_argmax {
        Some(true) => "; same largest element",
        Some(false) => "; another largest element",
        None => "",
    };
    let mut out = format!(
        "largest difference {} (relative {}){answer}",
        number(f.max_abs),
        number(f.error.or(f.max_rel))
    );
    if let Some(top) = f.top5 {
        out += &format!("; {:.0} % of the largest five agree", 100.0 * top);
    }
    if let Some(target) = f.target {
        let word = if f.misses() { "MISSES" } else { "within" };
        out += &format!("; {word} the {target} that is allowed");
    }
    out
}

fn cost(u: &Usage) -> String {
    format!(
        "{:.3} s ({:.3} s CPU, {})",
        u.seconds,
        u.cpu_seconds,
        bytes(u.peak_bytes)
    )
}

#[allow(clippy::cast_precision_loss)]
fn bytes(n: u64) -> String {
    match n {
        0..1024 => format!("{n} B"),
        1024..1_048_576 => format!("{:.1} KiB", n as f64 / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", n as f64 / 1_048_576.0),
        _ => format!("{:.1} GiB", n as f64 / 1_073_741_824.0),
    }
}

/// Escapes text for HTML, attributes included.
fn text(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    for c in raw.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_files_is_escaped() {
        assert_eq!(
            text("<script>\"a\" & 'b'</script>"),
            "&lt;script&gt;&quot;a&quot; &amp; &#39;b&#39;&lt;/script&gt;"
        );
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1024), "1.0 KiB");
        assert_eq!(bytes(3 << 20), "3.0 MiB");
    }
}
