//! `dsperse.toml`: the default chain, limits, and options of backends.
//!
//! ```toml
//! chain = "sumcheck|onnx"      # the default chain; or a list of names
//! fallback = "onnx"            # appended to chains that do not end in it
//!
//! [limits]
//! parallel = 2                 # slices at the same time
//! timeout = "30m"              # per job
//! memory = "4G"                # per job
//! artefacts = "16G"            # files that a job may hand back
//!
//! [require]                    # which versions of backends must be there, as cargo reads them
//! ezkl = "^0.1"
//!
//! [executor]                   # who carries jobs out, see docs/engines.md
//! kind = "process"
//!
//! [backend.ezkl]               # options that the backend declares, see `plugin inspect`
//! input_scale = 7
//! ```

use crate::error::{Error, Result};
use dsperse_plugin_api::{Descriptor, OptionSpec, job::Options};
use dsperse_router::Defaults;
use semver::VersionReq;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The configuration, not yet compared with what is loaded.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Default chain and fallback.
    pub defaults: Defaults,
    /// `limits.parallel`.
    pub parallel: Option<u64>,
    /// `limits.timeout` as it was written.
    pub timeout: Option<String>,
    /// `limits.memory` as it was written.
    pub memory: Option<String>,
    /// `limits.artefacts` as it was written.
    pub artefacts: Option<String>,
    /// Backends that must be loaded, and in which versions.
    pub require: BTreeMap<String, VersionReq>,
    /// The file; `None` when there is none.
    pub file: Option<PathBuf>,
    /// `[executor]`, not yet looked at.
    pub executor: toml::Table,
    backends: BTreeMap<String, toml::Table>,
}

impl Config {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// When it can't be read, is no TOML, or has a key that means nothing.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .map_err(|e| Error::io("read the configuration", path, &e).with_class_usage())?;
        Self::parse(&text, path)
    }

    fn parse(text: &str, path: &Path) -> Result<Self> {
        let wrong = |message: String| Error::usage(format!("\"{}\": {message}", path.display()));
        let table: toml::Table = text
            .parse()
            .map_err(|e: toml::de::Error| wrong(format!("not valid TOML: {}", e.message())))?;
        let mut config = Self {
            file: Some(path.to_path_buf()),
            ..Self::default()
        };
        for (key, value) in table {
            match (key.as_str(), value) {
                ("chain", toml::Value::String(s)) => {
                    config.defaults.chain = s.split('|').map(|n| n.trim().to_owned()).collect();
                }
                ("chain", toml::Value::Array(list)) => {
                    config.defaults.chain = list
                        .iter()
                        .map(|v| v.as_str().map(str::to_owned))
                        .collect::<Option<_>>()
                        .ok_or_else(|| wrong("\"chain\" must be a list of names".into()))?;
                }
                ("fallback", toml::Value::String(s)) => config.defaults.fallback = s,
                ("limits", toml::Value::Table(limits)) => config.limits(limits, &wrong)?,
                ("executor", toml::Value::Table(executor)) => config.executor = executor,
                ("backend", toml::Value::Table(backends)) => {
                    for (name, options) in backends {
                        let toml::Value::Table(options) = options else {
                            return Err(wrong(format!("\"backend.{name}\" must be a table")));
                        };
                        config.backends.insert(name, options);
                    }
                }
                ("require", toml::Value::Table(require)) => {
                    for (name, range) in require {
                        let range = range.as_str().and_then(|r| VersionReq::parse(r).ok());
                        let range = range.ok_or_else(|| {
                            wrong(format!("\"require.{name}\" is no range of versions")).with_hint(
                                "write ranges as cargo does: \"^0.2\", \">=1.0, <3\", \"=0.2.1\"",
                            )
                        })?;
                        config.require.insert(name, range);
                    }
                }
                ("chain" | "fallback" | "limits" | "backend" | "executor" | "require", other) => {
                    return Err(wrong(format!(
                        "\"{key}\" has the wrong type: found {}",
                        other.type_str()
                    )));
                }
                _ => {
                    return Err(wrong(format!("unknown key \"{key}\"")).with_hint(
                        "the keys are chain, fallback, [limits], [executor], [require] and [backend.<name>]",
                    ));
                }
            }
        }
        if config.defaults.chain.iter().any(String::is_empty) {
            return Err(wrong("\"chain\" holds an empty name".into()));
        }
        Ok(config)
    }

    fn limits(&mut self, limits: toml::Table, wrong: &impl Fn(String) -> Error) -> Result<()> {
        for (key, value) in limits {
            match (key.as_str(), value) {
                ("parallel", toml::Value::Integer(n)) if n >= 1 => {
                    self.parallel = u64::try_from(n).ok();
                }
                ("timeout", toml::Value::String(s)) => self.timeout = Some(s),
                ("timeout", toml::Value::Integer(n)) => self.timeout = Some(n.to_string()),
                ("memory", toml::Value::String(s)) => self.memory = Some(s),
                ("memory", toml::Value::Integer(n)) => self.memory = Some(n.to_string()),
                ("artefacts", toml::Value::String(s)) => self.artefacts = Some(s),
                ("artefacts", toml::Value::Integer(n)) => self.artefacts = Some(n.to_string()),
                ("parallel" | "timeout" | "memory" | "artefacts", other) => {
                    return Err(wrong(format!("\"limits.{key}\" can't be {other}")));
                }
                _ => {
                    return Err(wrong(format!("unknown key \"limits.{key}\""))
                        .with_hint("the keys are parallel, timeout, memory and artefacts"));
                }
            }
        }
        Ok(())
    }

    /// The backends that have options here.
    pub fn backends(&self) -> impl Iterator<Item = &str> {
        self.backends.keys().map(String::as_str)
    }

    /// The options of a backend, compared with those that it declares. Relative paths are
    /// relative to the configuration file.
    ///
    /// # Errors
    /// When an option is unknown or has the wrong type.
    pub fn options(&self, descriptor: &Descriptor) -> Result<Options> {
        let mut options = Options::new();
        let Some(table) = self.backends.get(&descriptor.name) else {
            return Ok(options);
        };
        let file = self.file.as_deref().unwrap_or(Path::new("dsperse.toml"));
        for (key, value) in table {
            let Some(spec) = descriptor.options.iter().find(|o| o.key == *key) else {
                let known: Vec<&str> = descriptor.options.iter().map(|o| o.key.as_str()).collect();
                return Err(Error::usage(format!(
                    "\"{}\": backend \"{}\" has no option \"{key}\"",
                    file.display(),
                    descriptor.name
                ))
                .with_hint(if known.is_empty() {
                    "it has no options".to_owned()
                } else {
                    format!("its options are {}", known.join(", "))
                }));
            };
            let value = option_value(spec, value, file).ok_or_else(|| {
                Error::usage(format!(
                    "\"{}\": option \"{key}\" of backend \"{}\" must be of type {}, found {value}",
                    file.display(),
                    descriptor.name,
                    spec.kind
                ))
                .with_hint(spec.help.clone())
            })?;
            options.insert(key.clone(), value);
        }
        Ok(options)
    }
}

fn option_value(spec: &OptionSpec, value: &toml::Value, file: &Path) -> Option<Value> {
    match (spec.kind.as_str(), value) {
        ("bool", toml::Value::Boolean(b)) => Some(Value::from(*b)),
        ("integer", toml::Value::Integer(n)) => Some(Value::from(*n)),
        #[allow(clippy::cast_precision_loss)]
        ("number", toml::Value::Integer(n)) => Some(Value::from(*n as f64)),
        ("number", toml::Value::Float(f)) if f.is_finite() => Some(Value::from(*f)),
        ("string", toml::Value::String(s)) => Some(Value::from(s.as_str())),
        ("path", toml::Value::String(s)) => {
            let path = file.parent().unwrap_or(Path::new("")).join(s);
            let path = std::path::absolute(path).ok()?;
            path.to_str().map(Value::from)
        }
        _ => None,
    }
}

/// Digest of those options that change what `compile` makes, defaults filled in.
#[must_use]
pub fn compile_options_digest(descriptor: &Descriptor, options: &Options) -> String {
    let mut relevant: Vec<(&str, &Value)> = descriptor
        .options
        .iter()
        .filter(|o| o.affects_compile)
        .filter_map(|o| {
            let value = options.get(&o.key).or(o.default.as_ref())?;
            Some((o.key.as_str(), value))
        })
        .collect();
    relevant.sort_by_key(|(key, _)| *key);
    let mut hasher = dsperse_documents::digest::FieldHasher::new("dsperse/compile-options/1");
    for (key, value) in relevant {
        hasher
            .text(key)
            .text(&dsperse_documents::digest::canonical(value).to_string());
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor() -> Descriptor {
        let mut d = Descriptor::new("ezkl", "1.0.0", "test");
        let option = |key: &str, kind: &str, affects_compile| OptionSpec {
            key: key.into(),
            kind: kind.into(),
            help: "help".into(),
            default: None,
            affects_compile,
        };
        d.options = vec![
            option("scale", "integer", true),
            option("tool", "path", false),
            option("quick", "bool", false),
        ];
        d
    }

    fn parse(text: &str) -> Result<Config> {
        Config::parse(text, Path::new("/etc/d/dsperse.toml"))
    }

    #[test]
    fn everything_is_read() -> Result<()> {
        let config = parse(
            "chain = \"a | b\"\nfallback = \"b\"\n[limits]\nparallel = 2\ntimeout = \"5m\"\nmemory = 4096\n\
             [backend.ezkl]\nscale = 7\ntool = \"bin/ezkl\"\nquick = true\n",
        )?;
        assert_eq!(config.defaults.chain, ["a", "b"]);
        assert_eq!(config.defaults.fallback, "b");
        assert_eq!(config.parallel, Some(2));
        assert_eq!(config.timeout.as_deref(), Some("5m"));
        assert_eq!(config.memory.as_deref(), Some("4096"));
        let options = config.options(&descriptor())?;
        assert_eq!(options["scale"], 7);
        assert_eq!(options["tool"], "/etc/d/bin/ezkl");
        assert_eq!(options["quick"], true);
        Ok(())
    }

    #[test]
    fn wrong_keys_and_types_are_named() {
        for (text, part) in [
            ("chian = 1", "unknown key \"chian\""),
            ("chain = 1", "\"chain\" has the wrong type"),
            ("[limits]\nparallel = 0", "limits.parallel"),
            ("[limits]\nspeed = 0", "unknown key \"limits.speed\""),
            ("x", "not valid TOML"),
        ] {
            let e = parse(text).expect_err(text);
            assert!(e.message.contains(part), "{e}");
        }
        for (text, part) in [
            ("[backend.ezkl]\nscales = 1", "no option \"scales\""),
            ("[backend.ezkl]\nscale = \"x\"", "must be of type integer"),
        ] {
            let e = parse(text)
                .and_then(|c| c.options(&descriptor()))
                .expect_err(text);
            assert!(e.message.contains(part), "{e}");
        }
    }

    #[test]
    fn only_options_that_affect_compile_change_the_digest() -> Result<()> {
        let d = descriptor();
        let digest = |text: &str| -> Result<String> {
            Ok(compile_options_digest(&d, &parse(text)?.options(&d)?))
        };
        let base = digest("")?;
        assert_eq!(digest("[backend.ezkl]\nquick = true")?, base);
        assert_ne!(digest("[backend.ezkl]\nscale = 1")?, base);
        Ok(())
    }
}
