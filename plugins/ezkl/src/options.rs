//! The options of the backend.

use dsperse_plugin_api::job::Options;
use dsperse_plugin_api::{Error, OptionSpec, Result};
use serde_json::{Value, json};

/// Bits after the binary point of inputs and weights when the user sets nothing.
pub const DEFAULT_SCALE: i64 = 13;

/// Largest error against the float model when the user sets nothing, relative to the
/// largest output (or to 1, when that is larger).
pub const DEFAULT_MAX_ERROR: f64 = 0.02;

fn bad_option(key: &str, expected: &str) -> Error {
    Error::invalid_input(format!(
        "the option \"{key}\" of the ezkl backend is not {expected}"
    ))
}

/// An option that is an integer; `None` when it is not set.
///
/// # Errors
/// `invalid_input` when it is something else or out of range.
pub fn integer_option(
    options: &Options,
    key: &str,
    range: std::ops::RangeInclusive<i64>,
) -> Result<Option<i64>> {
    match options.get(key) {
        None => Ok(None),
        Some(v) => v
            .as_i64()
            .filter(|v| range.contains(v))
            .map(Some)
            .ok_or_else(|| {
                bad_option(
                    key,
                    &format!("an integer from {} to {}", range.start(), range.end()),
                )
            }),
    }
}

/// The bound on the error against the float model.
///
/// # Errors
/// `invalid_input` when it is no positive number.
pub fn max_error(options: &Options) -> Result<f64> {
    match options.get("max_error") {
        None => Ok(DEFAULT_MAX_ERROR),
        Some(v) => v
            .as_f64()
            .filter(|v| *v > 0.0)
            .ok_or_else(|| bad_option("max_error", "a positive number")),
    }
}

/// What the descriptor says of the options.
pub fn options() -> Vec<OptionSpec> {
    let option =
        |key: &str, kind: &str, default: Option<Value>, compile: bool, help: &str| OptionSpec {
            key: key.into(),
            kind: kind.into(),
            help: help.into(),
            default,
            affects_compile: compile,
        };
    vec![
        option(
            "python",
            "path",
            None,
            false,
            "A Python that has the module ezkl; the Python environments are searched when it is not set.",
        ),
        option(
            "scale",
            "integer",
            Some(json!(DEFAULT_SCALE)),
            true,
            "Bits after the binary point of inputs and weights.",
        ),
        option(
            "logrows",
            "integer",
            None,
            true,
            "Rows of the circuit as a power of two (15 to 24); chosen from the slice and the SRS files when it is not set.",
        ),
        option(
            "max_error",
            "number",
            Some(json!(DEFAULT_MAX_ERROR)),
            true,
            "Largest difference from the float model, relative to the largest output; a slice beyond it goes to the next backend.",
        ),
        option(
            "mock",
            "bool",
            Some(json!(false)),
            false,
            "Check every constraint of a witness before it is proven.",
        ),
        option(
            "srs_dir",
            "path",
            None,
            false,
            "Directory with kzg<k>.srs; default: the places that EZKL uses.",
        ),
        option(
            "insecure_test_srs",
            "bool",
            Some(json!(false)),
            true,
            "Make and use a test SRS in srs_dir. For trials only: such proofs convince nobody.",
        ),
        option(
            "srs_fingerprint",
            "string",
            None,
            false,
            "SHA-256 of the SRS's s·G2 that a verifier insists on.",
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Map;

    #[test]
    fn options_out_of_range_are_named() {
        let options = Map::from_iter([("logrows".to_owned(), json!(40))]);
        let e = integer_option(&options, "logrows", 15..=24).unwrap_err();
        assert!(e.message.contains("\"logrows\""));
        assert!(e.message.contains("15 to 24"));
    }
}
