//! Templates, style, script and data in one file.
//!
//! Every string that a template shows goes through one formatter: text from files is made
//! harmless and escaped there. The policy of the page allows its own style and script by
//! their digests and nothing else; it can load nothing, from nowhere.

use crate::subject::{self, Subject};
use crate::{Result, text, view};
use base64::Engine as _;
use minijinja::{Environment, UndefinedBehavior, Value, context};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;

const STYLE: &str = include_str!("templates/style.css");
const SCRIPT: &str = include_str!("templates/script.js");

/// The page of one model or run.
///
/// # Errors
/// When the template contradicts what fills it (a fault of this program).
pub fn page(subject: &Subject) -> Result<String> {
    let data = serde_json::json!({
        "schema": SCHEMA,
        "tool_version": env!("CARGO_PKG_VERSION"),
        "subjects": [subject::documents(subject)],
    });
    render("page.html", &view::page(subject), &data)
}

/// The page of two models or runs side by side.
///
/// # Errors
/// As [`page`].
pub fn comparison(a: &Subject, b: &Subject) -> Result<String> {
    let data = serde_json::json!({
        "schema": SCHEMA,
        "tool_version": env!("CARGO_PKG_VERSION"),
        "subjects": [subject::documents(a), subject::documents(b)],
    });
    render("compare.html", &view::compare::compare(a, b), &data)
}

/// Version of the data inside a page, see `docs/report.md`.
pub const SCHEMA: &str = "1.0.0";

fn render(template: &str, view: &impl Serialize, data: &serde_json::Value) -> Result<String> {
    let style = style();
    let csp = format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; img-src data:; base-uri 'none'; form-action 'none'",
        digest(&style),
        digest(SCRIPT)
    );
    let env = environment()?;
    let html = env.get_template(template)?.render(context! {
        p => view,
        csp => Value::from_safe_string(csp),
        style => Value::from_safe_string(style),
        script => Value::from_safe_string(SCRIPT.to_owned()),
        data => Value::from_safe_string(embedded(data)),
    })?;
    Ok(html)
}

fn environment() -> Result<Environment<'static>> {
    let mut env = Environment::new();
    env.set_undefined_behavior(UndefinedBehavior::Strict);
    env.set_formatter(|out, state, value| {
        if value.is_safe() {
            return minijinja::escape_formatter(out, state, value);
        }
        match value.as_str() {
            Some(raw) => out.write_str(&text::html(raw)).map_err(Into::into),
            None => minijinja::escape_formatter(out, state, value),
        }
    });
    env.add_template("macros.html", include_str!("templates/macros.html"))?;
    env.add_template("head.html", include_str!("templates/head.html"))?;
    env.add_template("page.html", include_str!("templates/page.html"))?;
    env.add_template("compare.html", include_str!("templates/compare.html"))?;
    Ok(env)
}

/// The style sheet with the colours of the plots.
fn style() -> String {
    let mut style = STYLE.to_owned();
    for (colour, variable) in crate::plots::ROLES {
        let _ = writeln!(
            style,
            ".plot [fill=\"{colour}\"]{{fill:var({variable})}}.plot [stroke=\"{colour}\"]{{stroke:var({variable})}}"
        );
    }
    style
}

fn digest(text: &str) -> String {
    base64::engine::general_purpose::STANDARD.encode(Sha256::digest(text.as_bytes()))
}

/// JSON that can stand inside a `<script>`: what could end it, or what a reader's eye or an
/// old parser stumbles over, becomes an escape of JSON. The document says the same.
#[must_use]
pub fn embedded(data: &serde_json::Value) -> String {
    let json = data.to_string();
    let json = dsperse_documents::foreign::json(&json);
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '<' => out.push_str("\\u003c"),
            '>' => out.push_str("\\u003e"),
            '&' => out.push_str("\\u0026"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn data_can_not_end_its_element() {
        let data = serde_json::json!({"name": "</script><!-- & \u{2028}\u{202e}"});
        let text = embedded(&data);
        assert!(
            !text.contains(['<', '>', '&', '\u{2028}', '\u{202e}']),
            "{text}"
        );
        let back: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(back, data);
    }

    proptest! {
        #[test]
        fn data_says_the_same(text in any::<String>()) {
            let data = serde_json::json!([text]);
            let back: serde_json::Value = serde_json::from_str(&embedded(&data)).unwrap();
            prop_assert_eq!(back, data);
        }
    }

    #[test]
    fn the_templates_hold_no_address_and_no_inline_style() {
        for file in [
            include_str!("templates/macros.html"),
            include_str!("templates/head.html"),
            include_str!("templates/page.html"),
            include_str!("templates/compare.html"),
            STYLE,
            SCRIPT,
        ] {
            for outside in ["http:", "https:", "//www", " style=", "onclick=", "src="] {
                assert!(!file.contains(outside), "{outside}");
            }
        }
    }
}
