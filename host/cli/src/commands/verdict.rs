//! A verdict as people read it.

use super::summary::fidelity;
use crate::console::foreign::field;
use crate::console::numbers;
use crate::console::table::Table;
use crate::exit::Exit;
use dsperse_documents::{KeyOrigin, MeasuredBy, SliceVerdict, Verdict, VerificationReport};
use std::fmt::Write as _;

/// Less than this share of the work is little.
const LITTLE: f64 = 0.5;

/// 0 only when the demand is met.
pub fn exit(report: &VerificationReport) -> Exit {
    Exit::of(report.accepted)
}

/// The word for a claim.
pub fn verdict(accepted: bool) -> &'static str {
    if accepted { "accepted" } else { "NOT accepted" }
}

/// Verdict per slice, what the proofs offer, and the whole.
pub fn text(report: &VerificationReport) -> String {
    let mut table = Table::new(
        &["slice", "verdict", "backend", "time", "memory", "note"],
        &[0, 3, 4],
    );
    for s in &report.slices {
        let backend = match (&s.backend, &s.backend_version) {
            (Some(name), Some(version)) => format!("{name} {version}"),
            _ => "-".to_owned(),
        };
        table.row(vec![
            s.index.to_string(),
            s.verdict.to_string(),
            backend,
            numbers::seconds(s.usage.seconds),
            numbers::bytes(s.usage.peak_bytes),
            s.reason.clone().unwrap_or_default(),
        ]);
    }
    let mut out = table.render();
    for failure in &report.failures {
        let _ = writeln!(out, "failed: {}", field(failure));
    }
    for line in proofs(&report.slices) {
        let _ = writeln!(out, "{}", field(&line));
    }
    let mut warnings: Vec<&String> = report.slices.iter().flat_map(|s| &s.warnings).collect();
    warnings.sort_unstable();
    warnings.dedup();
    for warning in warnings {
        let _ = writeln!(out, "warning: {}", field(warning));
    }
    let mut hints: Vec<&String> = report
        .slices
        .iter()
        .filter(|s| !report.require.accepts(s.verdict))
        .filter_map(|s| s.hint.as_ref())
        .collect();
    hints.sort_unstable();
    hints.dedup();
    for hint in hints {
        let _ = writeln!(out, "hint: {}", field(hint));
    }
    if let Some(f) = &report.fidelity {
        let who = match report.fidelity_by {
            Some(MeasuredBy::Verifier) => "as this verifier measured it",
            _ => "as the prover measured it",
        };
        let _ = writeln!(out, "fidelity, {who}: {}", field(&fidelity(f)));
    }
    let _ = writeln!(out, "model identity {}", report.model_identity);
    if let Some(keys) = &report.keys_sha256 {
        let _ = writeln!(out, "verifying keys {keys}, {}", origins(&report.slices));
    }
    let c = &report.counts;
    let share = |s: Option<f64>, of: &str| {
        s.map_or_else(
            || format!("no {of} to prove"),
            |s| format!("{} of {of}", numbers::percent(s)),
        )
    };
    let _ = writeln!(
        out,
        "{} proven, {} recomputed, {} unchecked, {} failed; proven: {}, {}",
        c.proven,
        c.recomputed,
        c.unchecked,
        c.failed,
        share(report.proven_by_parameters, "parameters"),
        share(report.proven_by_macs, "multiply-accumulates")
    );
    if let Some(line) = little_proven(report) {
        let _ = writeln!(out, "{line}");
    }
    let _ = writeln!(
        out,
        "verdict: {} (--require {})",
        verdict(report.accepted),
        report.require.as_str()
    );
    out
}

/// Says plainly that nothing was proven, or how little, so that nobody reads more into the
/// verdict below.
fn little_proven(report: &VerificationReport) -> Option<String> {
    if report.counts.proven == 0 {
        return Some("NOTHING WAS PROVEN: no slice has a proof that holds".to_owned());
    }
    let share = report.proven_by_macs.or(report.proven_by_parameters)?;
    let of = if report.proven_by_macs.is_some() {
        "multiply-accumulates"
    } else {
        "parameters"
    };
    (share < LITTLE).then(|| {
        format!(
            "LITTLE WAS PROVEN: {} of the model's {of}",
            numbers::percent(share)
        )
    })
}

/// Where the keys of the proven slices come from.
fn origins(slices: &[SliceVerdict]) -> String {
    let has = |origin| slices.iter().any(|s| s.keys == Some(origin));
    let mut words: Vec<&str> = [KeyOrigin::Pinned, KeyOrigin::Recompiled]
        .into_iter()
        .filter(|o| has(*o))
        .map(KeyOrigin::as_str)
        .collect();
    if has(KeyOrigin::AsGiven) {
        words.push(
            "as they lie in these slices: when somebody else compiled them, use --expect-keys or --recompile",
        );
    }
    words.join(", ")
}

/// One line per backend that proved something: what its proofs offer.
fn proofs(slices: &[SliceVerdict]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for s in slices.iter().filter(|s| s.verdict == Verdict::Proven) {
        let (Some(name), Some(p)) = (&s.backend, &s.proof) else {
            continue;
        };
        let yes = |b| if b { "yes" } else { "no" };
        let bits = p
            .security_bits
            .map_or_else(String::new, |b| format!(", {b} bits of soundness"));
        let line = format!(
            "proofs of {name}: zero knowledge {}, hides weights {}, post-quantum {}, binding {}{bits}",
            yes(p.zero_knowledge),
            yes(p.hides_weights),
            yes(p.post_quantum),
            format!("{:?}", p.binds_public_io).to_lowercase()
        );
        if !lines.contains(&line) {
            lines.push(line);
            lines.extend(p.caveats.iter().map(|c| format!("  note: {c}")));
        }
    }
    lines
}
