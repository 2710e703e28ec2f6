//! Events as JSON, one object per line: `--progress json`. The fields are described in
//! docs/user-guide.md; programs skip kinds and fields that they do not know.

use dsperse_plugin_host::CallEvent;
use dsperse_stages::Event;
use serde_json::{Value, json};

/// The event's object; its first key is `event`.
pub fn json(event: &Event) -> Option<Value> {
    Some(match event {
        Event::StageStarted { stage, slices } => {
            json!({"event": "stage_started", "stage": stage, "slices": slices})
        }
        Event::Asking { done, of } => json!({"event": "asking", "done": done, "of": of}),
        Event::Started {
            stage,
            slice,
            backend,
        } => json!({"event": "started", "stage": stage, "slice": slice, "backend": backend}),
        Event::Call {
            slice,
            backend,
            event,
        } => match event {
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
        },
        Event::UpToDate {
            stage,
            slice,
            backend,
        } => json!({"event": "up_to_date", "stage": stage, "slice": slice, "backend": backend}),
        Event::FellThrough { slice, fallback } => {
            let mut object = json!({"event": "fell_through", "slice": slice});
            if let (Some(object), Ok(Value::Object(fields))) =
                (object.as_object_mut(), serde_json::to_value(fallback))
            {
                object.extend(fields);
            }
            object
        }
        Event::Finished {
            stage,
            slice,
            backend,
            usage,
            outcome,
        } => json!({
            "event": "finished", "stage": stage, "slice": slice, "backend": backend,
            "outcome": outcome, "seconds": usage.seconds, "cpu_seconds": usage.cpu_seconds,
            "peak_bytes": usage.peak_bytes,
        }),
        Event::Failed {
            stage,
            slice,
            reason,
        } => json!({"event": "failed", "stage": stage, "slice": slice, "reason": reason}),
        Event::Note { message } => json!({"event": "note", "message": message}),
        Event::Warning { message, hint } => {
            json!({"event": "warning", "message": message, "hint": hint})
        }
        _ => return None,
    })
}
