//! The template of a new backend: what `dsperse plugin new NAME` writes.
//!
//! The files stand in `plugin-api/template`, with `{{…}}` where a name goes.

/// Where a new backend gets this crate from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApiSource {
    /// The directory of this crate (`plugin-api`) in a copy of DSperse.
    Path(String),
    /// A tag in a repository of DSperse.
    Git {
        /// The repository.
        url: String,
        /// The tag.
        tag: String,
    },
    /// The registry.
    Registry,
}

/// The crates of this directory that a new backend depends on: where each lies below it, and
/// its version.
const API: (&str, &str) = ("", env!("CARGO_PKG_VERSION"));
const ONNX: (&str, &str) = ("/onnx", "0.1.0");

impl ApiSource {
    /// A dependency's value in `Cargo.toml`.
    fn dependency(&self, (below, version): (&str, &str)) -> String {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let version = quoted(version);
        match self {
            Self::Path(dir) => format!(
                "{{ version = {version}, path = {} }}",
                quoted(&format!("{dir}{below}"))
            ),
            Self::Git { url, tag } => format!(
                "{{ version = {version}, git = {}, tag = {} }}",
                quoted(url),
                quoted(tag)
            ),
            Self::Registry => version,
        }
    }
}

/// A name that no backend can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is no name for a backend: expected lower-case letters, digits, \"-\" and \"_\", a letter first, such as \"my-prover\""
)]
pub struct BadName(String);

/// The files of a new backend: path below the new directory, and contents.
///
/// # Errors
/// When the name is none.
pub fn render(name: &str, api: &ApiSource) -> Result<Vec<(&'static str, String)>, BadName> {
    let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-' || c == b'_';
    if !name.starts_with(|c: char| c.is_ascii_lowercase())
        || name.len() > 64
        || !name.bytes().all(plain)
    {
        return Err(BadName(name.to_owned()));
    }
    let fill = |text: &str| {
        text.replace("{{name}}", name)
            .replace("{{library}}", &name.replace('-', "_"))
            .replace("{{api}}", &api.dependency(API))
            .replace("{{onnx}}", &api.dependency(ONNX))
    };
    let files = [
        ("Cargo.toml", include_str!("../template/Cargo.toml.in")),
        ("src/lib.rs", include_str!("../template/lib.rs.in")),
        (
            "tests/conforms.rs",
            include_str!("../template/conforms.rs.in"),
        ),
        ("README.md", include_str!("../template/README.md.in")),
        ("LICENSE", include_str!("../template/LICENSE.in")),
        (".gitignore", include_str!("../template/gitignore.in")),
        (
            ".github/workflows/ci.yml",
            include_str!("../template/ci.yml.in"),
        ),
    ];
    Ok(files.map(|(path, text)| (path, fill(text))).to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_has_under_sixty_lines_and_no_place_left_open() {
        let api = ApiSource::Path("/a \"b\"/plugin-api".into());
        let files = render("my-prover", &api).expect("a name");
        // What an author has to read and change.
        let code = files.iter().take(2);
        let lines: usize = code.map(|(_, text)| text.lines().count()).sum();
        assert!(lines < 60, "{lines}");
        assert!(files.iter().all(|(_, text)| !text.contains("{{name")));
        let text = |path: &str| &files.iter().find(|(p, _)| *p == path).expect("a file").1;
        let manifest = text("Cargo.toml");
        for part in [
            "name = \"dsperse_backend_my_prover\"",
            r#"path = "/a \"b\"/plugin-api/onnx" }"#,
        ] {
            assert!(manifest.contains(part), "{manifest}");
        }
        assert!(text("src/lib.rs").contains("Descriptor::new(\"my-prover\""));
        assert!(text("tests/conforms.rs").contains("dsperse_backend_my_prover::Mine"));
    }

    #[test]
    fn dependencies_are_pinned_by_version_or_tag() {
        let of = |api: &ApiSource| render("x", api).expect("a name").remove(0).1;
        let manifest = of(&ApiSource::Registry);
        let version = env!("CARGO_PKG_VERSION");
        assert!(manifest.contains(&format!("dsperse-plugin-api = \"{version}\"\n")));
        let manifest = of(&ApiSource::Git {
            url: "https://example.org/x".into(),
            tag: "v0.1.0".into(),
        });
        let pinned = "git = \"https://example.org/x\", tag = \"v0.1.0\" }";
        assert_eq!(manifest.matches(pinned).count(), 2, "{manifest}");
    }

    #[test]
    fn names_that_are_none_are_refused() {
        for name in ["", "Mine", "1st", "a b", "../x", "a\"b", &"x".repeat(65)] {
            assert!(render(name, &ApiSource::Registry).is_err(), "{name}");
        }
    }
}
