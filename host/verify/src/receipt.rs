//! A receipt as the yardstick: what somebody whom the verifier trusts has found before.
//!
//! The receipt pins model, keys and claim, and no slice may have a weaker verdict than it
//! had then. Nothing in it makes a verdict: the whole verification is done again.

use dsperse_documents::{Receipt, SliceVerdict, Verdict, VerificationReport};

/// What the report has to be blamed for when it is held against the receipt.
pub(crate) fn differences(receipt: &Receipt, report: &VerificationReport) -> Vec<String> {
    let mut out = Vec::new();
    for (what, expected, found) in [
        ("model", &receipt.model_identity, &report.model_identity),
        ("input", &receipt.input_sha256, &report.input_sha256),
        ("output", &receipt.output_sha256, &report.output_sha256),
    ] {
        if expected != found {
            out.push(format!(
                "the receipt is of another {what}: its digest is {expected}, found {found}"
            ));
        }
    }
    if let (Some(expected), Some(found)) = (&receipt.keys_sha256, &report.keys_sha256)
        && expected != found
    {
        out.push(format!(
            "the receipt is of other keys: their digest is {expected}, found {found}"
        ));
    }
    for slice in &report.slices {
        let before = receipt.slices.iter().find(|s| s.index == slice.index);
        match before {
            None => out.push(format!("the receipt has no slice {}", slice.index)),
            Some(before) if weaker(slice, before.verdict) => out.push(format!(
                "slice {} is {}, the receipt has it {}",
                slice.index, slice.verdict, before.verdict
            )),
            Some(_) => {}
        }
    }
    out
}

fn weaker(now: &SliceVerdict, before: Verdict) -> bool {
    let rank = |v| match v {
        Verdict::Failed => 0,
        Verdict::Unchecked => 1,
        Verdict::Recomputed => 2,
        Verdict::Proven => 3,
    };
    rank(now.verdict) < rank(before)
}
