//! Errors of a backend. The kind decides what the host does next, so choosing the right
//! kind matters more than the text.

use serde::{Deserialize, Serialize};

/// Result of a backend's operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, in the sense of "what must the host do".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// This slice can't be done by this backend: the host quietly tries the next one.
    Unsupported,
    /// An external tool is missing or too old: the next one, and one warning with the hint.
    ToolMissing,
    /// The request or a file of the user is wrong: the host stops; no fallback can mend it.
    InvalidInput,
    /// Not enough memory, time or disk: the next one, or another try, by policy.
    Resource,
    /// The host asked to stop.
    Cancelled,
    /// A fault of the backend: the next one when policy allows; counts toward quarantine.
    Internal,
    /// The call panicked. Set by the shim and by hosts, never by authors.
    Panic,
    /// The worker died (signal, exit, abort). Set by hosts.
    Crash,
}

/// An error of a backend.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
#[non_exhaustive]
pub struct Error {
    /// What the host decides by.
    pub kind: ErrorKind,
    /// One or more sentences for the user.
    pub message: String,
    /// What the user can do or type, when there is something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The node that could not be done (`unsupported`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The operator of that node (`unsupported`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub op: Option<String>,
    /// The tool that is missing or too old (`tool_missing`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<Box<MissingTool>>,
}

/// An external tool that is missing or has the wrong version.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingTool {
    /// Its name.
    pub name: String,
    /// The version that is wanted, as a semver requirement.
    #[serde(default)]
    pub wanted: String,
    /// The version that was found, when any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
}

impl Error {
    /// An error of any kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hint: None,
            node: None,
            op: None,
            tool: None,
        }
    }
    /// The slice can't be done by this backend.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, message)
    }
    /// A tool is missing.
    pub fn tool_missing(tool: impl Into<String>, message: impl Into<String>) -> Self {
        let mut e = Self::new(ErrorKind::ToolMissing, message);
        e.tool_mut().name = tool.into();
        e
    }
    /// The request or a user's file is wrong.
    pub fn invalid_input(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidInput, message)
    }
    /// Memory, time or disk ran out.
    pub fn resource(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Resource, message)
    }
    /// The host asked to stop.
    pub fn cancelled() -> Self {
        Self::new(ErrorKind::Cancelled, "cancelled")
    }
    /// A fault of this backend.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }
    /// Adds what the user can do.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
    /// Adds the node and operator that could not be done.
    #[must_use]
    pub fn at_node(mut self, node: impl Into<String>, op: impl Into<String>) -> Self {
        self.node = Some(node.into());
        self.op = Some(op.into());
        self
    }
    /// Adds the wanted and found versions of a tool.
    #[must_use]
    pub fn versions(mut self, wanted: impl Into<String>, found: Option<String>) -> Self {
        let tool = self.tool_mut();
        tool.wanted = wanted.into();
        tool.found = found;
        self
    }
    /// Boxed, so that `Result<T, Error>` stays small.
    fn tool_mut(&mut self) -> &mut MissingTool {
        self.tool.get_or_insert_with(Box::default)
    }
}

impl From<std::io::Error> for Error {
    fn from(e: std::io::Error) -> Self {
        let kind = match e.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::OutOfMemory => {
                ErrorKind::Resource
            }
            _ => ErrorKind::Internal,
        };
        Self::new(kind, format!("file operation failed: {e}"))
    }
}

/// What can't be read or expressed is a fault of the input.
impl From<dsperse_tensor::TensorError> for Error {
    fn from(e: dsperse_tensor::TensorError) -> Self {
        Self::invalid_input(e.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_tool_travels_with_its_versions() {
        let sent = Error::tool_missing("ezkl", "ezkl is too old")
            .versions("^23", Some("22.1.0".into()))
            .with_hint("install ezkl 23");
        let json = serde_json::to_value(&sent).expect("JSON");
        assert_eq!(
            json,
            serde_json::json!({
                "kind": "tool_missing", "message": "ezkl is too old", "hint": "install ezkl 23",
                "tool": {"name": "ezkl", "wanted": "^23", "found": "22.1.0"}
            })
        );
        assert_eq!(serde_json::from_value::<Error>(json).expect("reads"), sent);
    }

    #[test]
    fn the_smallest_error_document_is_kind_and_message() {
        let error: Error =
            serde_json::from_str(r#"{"kind":"resource","message":"no memory","new":1}"#)
                .expect("reads");
        assert_eq!(error, Error::resource("no memory"));
    }
}
