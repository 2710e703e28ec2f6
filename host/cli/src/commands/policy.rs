//! The policy file of `verify`: what a team demands of every verification, in one place.
//!
//! Keys are the names of the flags with underscores. A flag that is given beside the file
//! adds a demand or replaces the file's value; no flag takes a demand back.

use super::attestation;
use crate::args::stages::{Require, Verify};
use crate::commands::compile;
use crate::error::{Result, UserError};
use crate::exit::Exit;
use dsperse_router::Policy;
use dsperse_stages::verify::{AllowedBackend, Demands, VerifyOptions};
use serde::Deserialize;
use std::path::Path;

/// The file's contents.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    require: Option<dsperse_documents::Require>,
    #[serde(default)]
    allow_backends: Vec<String>,
    #[serde(default)]
    allow_saturation: bool,
    #[serde(default)]
    require_proof: bool,
    #[serde(default)]
    require_zk: bool,
    #[serde(default)]
    require_strong_binding: bool,
    #[serde(default)]
    require_succinct: bool,
    #[serde(default)]
    require_hidden_weights: bool,
    #[serde(default)]
    require_post_quantum: bool,
    #[serde(default)]
    require_transparent: bool,
    #[serde(default)]
    require_security: Option<u32>,
    #[serde(default)]
    expect_model: Option<String>,
    #[serde(default)]
    expect_keys: Option<String>,
    #[serde(default)]
    tolerance: Option<f64>,
    #[serde(default)]
    max_error: Option<f64>,
    #[serde(default)]
    recompile: bool,
}

fn read(path: &Path) -> Result<File> {
    let wrong = |what: String| UserError {
        exit: Exit::Usage,
        message: format!("the policy \"{}\" can't be used: {what}", path.display()),
        hint: Some("docs/trust.md lists what a policy file may hold".to_owned()),
    };
    let text = std::fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
    toml::from_str(&text).map_err(|e| wrong(e.message().to_owned()))
}

/// The options of a verification: the policy file, if one is given, and the flags.
///
/// # Errors
/// When the file can't be read, or a value means nothing.
pub fn options(args: &Verify) -> Result<VerifyOptions> {
    let file = args.policy_file.as_deref().map(read).transpose()?;
    let file = file.unwrap_or_default();
    let flags = compile::policy(&args.policy);
    let allowed = |text: &String| {
        AllowedBackend::parse(text)
            .map_err(|e| UserError::usage(e, "for example: sumcheck, or sumcheck@ and the SHA-256 that \"dsperse plugin list --json\" shows"))
    };
    let read = |list: &[String]| list.iter().map(allowed).collect::<Result<Vec<_>>>();
    let (of_file, given) = (read(&file.allow_backends)?, read(&args.allow_backend)?);
    let allowed = match (of_file.is_empty(), given.is_empty()) {
        (true, _) => given,
        (_, true) => of_file,
        _ => in_both(&of_file, &given),
    };
    if allowed.is_empty() && !args.allow_backend.is_empty() {
        return Err(UserError::usage(
            "no backend is allowed by both the policy file and --allow-backend",
            "leave --allow-backend out, or name backends that the file allows",
        ));
    }
    let demands = Demands {
        require: stricter(file.require, args.require),
        expect_model: args.expect_model.clone().or(file.expect_model),
        expect_keys: args.expect_keys.clone().or(file.expect_keys),
        expect_receipts: attestation::expected(args)?.into_iter().collect(),
        tolerance: args.tolerance.or(file.tolerance).unwrap_or(0.0),
        policy: Policy {
            proof: flags.proof || file.require_proof,
            zero_knowledge: flags.zero_knowledge || file.require_zk,
            strong_binding: flags.strong_binding || file.require_strong_binding,
            succinct: flags.succinct || file.require_succinct,
            hidden_weights: flags.hidden_weights || file.require_hidden_weights,
            post_quantum: flags.post_quantum || file.require_post_quantum,
            transparent: flags.transparent || file.require_transparent,
            security_bits: flags.security_bits.max(file.require_security),
        },
        allowed,
        allow_saturation: args.allow_saturation || file.allow_saturation,
        max_error: match (args.fidelity.max_error, file.max_error) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        },
        recompile: args.recompile || file.recompile,
    };
    Ok(VerifyOptions {
        input: args.input.clone(),
        output: args.output.clone(),
        expect_receipt: args.expect_receipt.clone(),
        calibration: args.calibration.clone(),
        demands,
    })
}

/// What two lists both allow. Of two that name one backend, the one with a digest is narrower.
fn in_both(one: &[AllowedBackend], other: &[AllowedBackend]) -> Vec<AllowedBackend> {
    let mut both = Vec::new();
    for (a, b) in one.iter().flat_map(|a| other.iter().map(move |b| (a, b))) {
        let digest = a.sha256.as_ref().or(b.sha256.as_ref());
        if a.name == b.name && b.sha256.as_ref().or(digest) == digest {
            both.push(if a.sha256.is_some() { a } else { b }.clone());
        }
    }
    both
}

/// The level that a flag names.
pub fn require(level: Require) -> dsperse_documents::Require {
    match level {
        Require::Proven => dsperse_documents::Require::Proven,
        Require::Checked => dsperse_documents::Require::Checked,
        Require::Any => dsperse_documents::Require::Any,
    }
}

/// The stricter of the file's demand and the flag's.
fn stricter(
    file: Option<dsperse_documents::Require>,
    flag: Option<Require>,
) -> dsperse_documents::Require {
    use dsperse_documents::Require as R;
    let flag = flag.map(require);
    match (file, flag) {
        (Some(R::Proven), _) | (_, Some(R::Proven)) => R::Proven,
        (Some(R::Checked), _) | (_, Some(R::Checked)) => R::Checked,
        (Some(R::Any), _) | (_, Some(R::Any)) => R::Any,
        (None, None) => R::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dsperse_documents::Require as R;

    #[test]
    fn the_stricter_demand_counts() {
        assert_eq!(stricter(None, None), R::Checked);
        assert_eq!(stricter(Some(R::Proven), Some(Require::Any)), R::Proven);
        assert_eq!(stricter(Some(R::Any), Some(Require::Checked)), R::Checked);
        assert_eq!(stricter(Some(R::Any), None), R::Any);
    }

    #[test]
    fn a_second_list_of_backends_only_narrows_the_first() {
        let pinned = |digit: &str| format!("a@{}", digit.repeat(64));
        let (one, two) = (&*pinned("1"), &*pinned("2"));
        for (of_file, given, expected) in [
            (["a", "b"], ["a", "c"], vec!["a"]),
            (["a", "b"], [one, "c"], vec![one]),
            ([one, "b"], ["a", "c"], vec![one]),
            ([one, two], [two, "b"], vec![two]),
            ([one, "b"], [two, "c"], vec![]),
        ] {
            let parsed = |list: [&str; 2]| list.map(|text| AllowedBackend::parse(text).unwrap());
            for both in [
                in_both(&parsed(of_file), &parsed(given)),
                in_both(&parsed(given), &parsed(of_file)),
            ] {
                let found: Vec<_> = both.iter().map(ToString::to_string).collect();
                assert_eq!(found, expected);
            }
        }
    }

    #[test]
    fn unknown_keys_are_refused() {
        let e = toml::from_str::<File>("require_zkk = true").unwrap_err();
        assert!(e.message().contains("require_zkk"), "{e}");
    }
}
