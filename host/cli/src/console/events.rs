//! Events as JSON, one object per line: `--progress json`. The fields are described in
//! docs/user-guide.md; programs skip kinds and fields that they do not know.

use dsperse_plugin_host::CallEvent;
use dsperse_stages::Event;
use serde_json::{Value, json};

/// The event's object; its first key is `event`.
pub fn json(event: &Event) -> Option<Value> {
    let Event::Call {
        slice,
        backend,
        event,
    } = event
    else {
        return serde_json::to_value(event).ok();
    };
    Some(match event {
        CallEvent::Progress { fraction, step } => {
            json!({"event": "progress", "slice": slice, "fraction": fraction, "step": step})
        }
        CallEvent::Memory { peak_bytes } => {
            json!({"event": "memory", "slice": slice, "peak_bytes": peak_bytes})
        }
        other => {
            let (level, line) = other.line()?;
            json!({
                "event": "log", "slice": slice, "backend": backend,
                "level": format!("{level:?}").to_lowercase(), "line": line,
            })
        }
    })
}
