//! Versions: one number for the two functions, one for the documents, and the rule by
//! which a host and a plugin agree.

use semver::Version;

/// Major version of the two functions and their types. It never changes without a new
/// symbol name.
pub const ABI_MAJOR: u32 = 1;

/// Minor version of the documents: it grows when they get a field, an operation or an
/// event that an older side ignores.
///
/// | minor | what it brought |
/// | --- | --- |
/// | 0 | the six operations; requests with `job`, `dir` and `threads`; log and progress events |
/// | 1 | `memory` and `log_level` in requests; the panic event |
pub const ABI_MINOR: u32 = 1;

/// Whether a host and a plugin of these API versions understand each other: the lower
/// version must be caret-compatible with the higher one, whichever side it is on.
///
/// # Errors
/// A sentence with both versions and what to do.
pub fn negotiate(host: &Version, plugin: &Version) -> Result<(), String> {
    let (low, high) = if host <= plugin {
        (host, plugin)
    } else {
        (plugin, host)
    };
    let caret = semver::Comparator {
        op: semver::Op::Caret,
        major: low.major,
        minor: Some(low.minor),
        patch: Some(low.patch),
        pre: low.pre.clone(),
    };
    if caret.matches(high) {
        return Ok(());
    }
    let advice = if plugin < host {
        "get a newer build of the plugin"
    } else {
        "get a newer dsperse"
    };
    Err(format!(
        "the plugin was built for plugin API {plugin}, this host speaks {host}: {advice}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negotiation_is_symmetric() {
        let v = |s: &str| s.parse::<Version>().expect("a version");
        for (a, b, fits) in [
            ("1.0.0", "1.0.0", true),
            ("1.0.0", "1.9.3", true),
            ("1.4.0", "2.0.0", false),
            ("0.1.0", "0.2.0", false),
            ("0.1.0", "1.0.0", false),
        ] {
            assert_eq!(negotiate(&v(a), &v(b)).is_ok(), fits, "{a} {b}");
            assert_eq!(negotiate(&v(b), &v(a)).is_ok(), fits, "{b} {a}");
        }
    }

    #[test]
    fn the_reason_names_both_versions_and_what_to_do() {
        let reason = negotiate(&Version::new(1, 0, 0), &Version::new(2, 3, 0)).unwrap_err();
        assert!(
            reason.contains("2.3.0") && reason.contains("1.0.0"),
            "{reason}"
        );
        assert!(reason.contains("newer dsperse"), "{reason}");
    }
}
