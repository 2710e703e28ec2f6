//! The template of a new backend: what `dsperse plugin new NAME` writes.
//!
//! The files stand in `plugin-api/template`, with `{{…}}` where a name goes.

/// Where a new backend gets this crate from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApiSource {
    /// The directory of this crate (`plugin-api`) in a copy of DSperse.
    Path(String),
    /// The repository of DSperse.
    Git(String),
}

impl ApiSource {
    /// The dependency's value in `Cargo.toml`; `below` is a directory in this crate.
    fn dependency(&self, below: &str) -> String {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        match self {
            Self::Path(dir) if below.is_empty() => format!("{{ path = {} }}", quoted(dir)),
            Self::Path(dir) => format!("{{ path = {} }}", quoted(&format!("{dir}/{below}"))),
            Self::Git(url) => format!("{{ git = {} }}", quoted(url)),
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
            .replace("{{api}}", &api.dependency(""))
            .replace("{{onnx}}", &api.dependency("onnx"))
    };
    Ok(vec![
        (
            "Cargo.toml",
            fill(include_str!("../template/Cargo.toml.in")),
        ),
        ("src/lib.rs", fill(include_str!("../template/lib.rs.in"))),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_has_under_sixty_lines_and_no_place_left_open() {
        let api = ApiSource::Path("/a \"b\"/plugin-api".into());
        let files = render("my-prover", &api).expect("a name");
        let lines: usize = files.iter().map(|(_, text)| text.lines().count()).sum();
        assert!(lines < 60, "{lines}");
        let [(_, manifest), (_, source)] = &files[..] else {
            panic!("{files:?}")
        };
        assert!(
            manifest.contains("name = \"dsperse_backend_my_prover\""),
            "{manifest}"
        );
        assert!(
            manifest.contains(r#"{ path = "/a \"b\"/plugin-api/onnx" }"#),
            "{manifest}"
        );
        assert!(source.contains("Descriptor::new(\"my-prover\""), "{source}");
        assert!(!manifest.contains("{{") && !source.contains("{{"));
    }

    #[test]
    fn names_that_are_none_are_refused() {
        for name in ["", "Mine", "1st", "a b", "../x", "a\"b", &"x".repeat(65)] {
            assert!(
                render(name, &ApiSource::Git("https://example.org/x".into())).is_err(),
                "{name}"
            );
        }
    }
}
