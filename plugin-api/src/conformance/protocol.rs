//! Checks 1 to 7: the two functions, before any slice is worked on.

use super::rig::Rig;
use super::{Book, SampleSlice};
use crate::abi::{Op, RawReply, negotiate, status};
use crate::descriptor::OptionSpec;
use crate::{API_VERSION, Descriptor, Error, ErrorKind, Probe, ProbeJob, Stage, SupportsJob};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

/// Check 1.
pub(super) fn describe(rig: &Rig<'_>, book: &mut Book) -> Option<Descriptor> {
    let mut complaints = Vec::new();
    let mut first: Option<RawReply> = None;
    for _ in 0..2 {
        match (rig.caller.describe(), &first) {
            (Err(e), _) => complaints.push(e.message),
            (Ok(reply), None) => first = Some(reply),
            (Ok(reply), Some(before)) if reply != *before => {
                complaints.push("two calls gave different documents".into());
            }
            _ => {}
        }
    }
    let descriptor = first.and_then(|reply| match reply.descriptor() {
        Ok(descriptor) => Some(descriptor),
        Err(e) => {
            complaints.push(e.message);
            None
        }
    });
    book.enter(1, complaints);
    descriptor
}

/// Check 2.
pub(super) fn descriptor(d: &Descriptor, book: &mut Book) {
    let mut complaints = Vec::new();
    let mut ask = |good: bool, what: String| {
        if !good {
            complaints.push(what);
        }
    };
    let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-' || c == b'_';
    ask(
        !d.name.is_empty() && d.name.len() <= 64 && d.name.bytes().all(plain),
        format!(
            "the name \"{}\" is not made of lower-case letters, digits, \"-\" and \"_\"",
            d.name
        ),
    );
    ask(
        d.version != semver::Version::new(0, 0, 0),
        "the version is 0.0.0, which stands for one that can't be read".into(),
    );
    if let Err(reason) = negotiate(&API_VERSION, &d.api_version) {
        ask(false, reason);
    }
    ask(!d.summary.is_empty(), "the summary is empty".into());
    ask(!d.licence.is_empty(), "the licence is empty".into());

    let c = &d.capabilities;
    let has = |stage| c.stages.contains(&stage);
    for stage in [Stage::Compile, Stage::Witness] {
        ask(has(stage), format!("the stage {stage:?} is not declared"));
    }
    ask(
        has(Stage::Verify) || has(Stage::Recompute),
        "neither of the stages Verify and Recompute is declared".into(),
    );
    ask(
        has(Stage::Prove) == has(Stage::Verify),
        "only one of the stages Prove and Verify is declared".into(),
    );
    ask(
        has(Stage::Prove) == c.proof.is_some(),
        "the stage Prove and the properties of proofs belong together".into(),
    );
    for tool in &c.tools {
        let requirement = semver::VersionReq::parse(&tool.version);
        ask(
            requirement.is_ok(),
            format!(
                "tool \"{}\": \"{}\" is no version requirement",
                tool.name, tool.version
            ),
        );
        ask(
            !tool.install_hint.is_empty(),
            format!("tool \"{}\" has no hint how to install it", tool.name),
        );
    }
    if let Some(text) = &d.compatible_artefacts {
        ask(
            semver::VersionReq::parse(text).is_ok(),
            format!("compatible_artefacts: \"{text}\" is no version requirement"),
        );
    }
    let mut keys = BTreeSet::new();
    for option in &d.options {
        ask(
            keys.insert(&option.key),
            format!("option \"{}\" is declared twice", option.key),
        );
        ask(
            option_is_sound(option),
            format!(
                "option \"{}\": kind \"{}\" with this default",
                option.key, option.kind
            ),
        );
    }
    book.enter(2, complaints);
}

fn option_is_sound(option: &OptionSpec) -> bool {
    let default = option.default.as_ref();
    match option.kind.as_str() {
        "bool" => default.is_none_or(Value::is_boolean),
        "integer" => default.is_none_or(|v| v.is_i64() || v.is_u64()),
        "number" => default.is_none_or(Value::is_number),
        "string" | "path" => default.is_none_or(Value::is_string),
        _ => false,
    }
}

/// Checks 18 and 19: what the way to the backend saw besides replies.
pub(super) fn outside(rig: &Rig<'_>, d: &Descriptor, book: &mut Book) {
    match rig.caller.manifest() {
        Ok(None) => book.skip(18, "no manifest was found"),
        Ok(Some(manifest)) => {
            let same = |a: &str, b: &str| a.replace('-', "_") == b.replace('-', "_");
            let pairs = [
                ("name", &manifest.name, &d.name),
                ("version", &manifest.version, &d.version.to_string()),
                ("API version", &manifest.api, &d.api_version.to_string()),
            ]
            .map(|(what, found, expected)| {
                // The name of a library has no "-".
                let fits = found.is_empty() || same(found, expected);
                (!fits).then(|| {
                    format!("the {what} in the manifest is \"{found}\", the descriptor says \"{expected}\"")
                })
            });
            book.enter(18, pairs.into_iter().flatten().collect());
        }
        Err(e) => book.enter(18, vec![e.message]),
    }
    match rig.caller.left_behind() {
        None => book.skip(19, "only workers are watched for this"),
        Some(calls) => book.enter(19, calls),
    }
}

/// Checks 3 to 7.
pub(super) fn operations(
    rig: &Rig<'_>,
    descriptor: &Descriptor,
    samples: &[SampleSlice],
    book: &mut Book,
) {
    book.enter(3, complaint(unknown_operation(rig)));
    book.enter(4, malformed(rig, descriptor));
    book.enter(5, unknown_fields(rig, samples));
    book.enter(6, complaint(probe(rig)));
    book.enter(7, complaint(cancelled(rig)));
}

fn complaint(result: Result<(), Error>) -> Vec<String> {
    result.err().map(|e| e.message).into_iter().collect()
}

/// The kind of the error in a reply, or a word for what came instead.
fn kind(reply: crate::Result<RawReply>) -> Result<ErrorKind, String> {
    match reply.and_then(|r| r.decode::<Value>("the reply")) {
        Ok(_) => Err("a reply".into()),
        Err(e) => Ok(e.kind),
    }
}

fn expect(what: &str, found: Result<ErrorKind, String>, wanted: &[ErrorKind]) -> Option<String> {
    let found = match found {
        Ok(kind) if wanted.contains(&kind) => return None,
        Ok(kind) => format!("{kind:?}"),
        Err(other) => other,
    };
    Some(format!("{what}: found {found}, expected {:?}", wanted[0]))
}

fn unknown_operation(rig: &Rig<'_>) -> crate::Result<()> {
    let (request, _) = rig.request(Op::Probe, &ProbeJob::default())?;
    let request = serde_json::to_vec(&request).map_err(super::rig::json)?;
    for op in ["transmogrify", "", "Probe"] {
        let found = kind(rig.caller.call(op, &request, None));
        if let Some(line) = expect(&format!("\"{op}\""), found, &[ErrorKind::Unsupported]) {
            return Err(Error::internal(line));
        }
    }
    Ok(())
}

fn malformed(rig: &Rig<'_>, descriptor: &Descriptor) -> Vec<String> {
    let dir = match rig
        .fresh_dir("malformed")
        .and_then(|d| super::rig::text(&d))
    {
        Ok(dir) => dir,
        Err(e) => return vec![e.message],
    };
    let mut complaints = Vec::new();
    for op in Op::ALL {
        let stage = match op {
            Op::Probe | Op::Supports => None,
            Op::Compile => Some(Stage::Compile),
            Op::Witness => Some(Stage::Witness),
            Op::Prove => Some(Stage::Prove),
            Op::Verify => None,
        };
        // A backend without a stage may say so before it reads the request.
        let wanted = match stage {
            Some(s) if !descriptor.capabilities.stages.contains(&s) => {
                &[ErrorKind::InvalidInput, ErrorKind::Unsupported][..]
            }
            _ => &[ErrorKind::InvalidInput][..],
        };
        let mut requests: Vec<String> = ["", "{", "[]", "null", "{\"job\":{}}"]
            .map(str::to_owned)
            .to_vec();
        requests.push(json!({"dir": dir}).to_string());
        requests.push(json!({"dir": dir, "job": 7}).to_string());
        if op != Op::Probe {
            requests.push(json!({"dir": dir, "job": {}}).to_string());
            requests.push(json!({"dir": dir, "job": {"slice": 7}}).to_string());
        }
        for request in requests {
            let found = kind(rig.caller.call(op.as_str(), request.as_bytes(), None));
            complaints.extend(expect(&format!("\"{op}\" with {request:?}"), found, wanted));
        }
    }
    complaints
}

fn unknown_fields(rig: &Rig<'_>, samples: &[SampleSlice]) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut compare = |op: Op, job: Value| -> crate::Result<()> {
        let mut replies = Vec::new();
        for more in [false, true] {
            let (mut request, _) = rig.request(op, &job)?;
            if more {
                add_fields(&mut request);
            }
            let request = serde_json::to_vec(&request).map_err(super::rig::json)?;
            replies.push(rig.caller.call(op.as_str(), &request, None)?);
        }
        if let [without, with] = &replies[..]
            && without != with
        {
            complaints.push(format!(
                "\"{op}\": with unknown fields {}, without {}",
                head(with),
                head(without)
            ));
        }
        Ok(())
    };
    let outcome = compare(Op::Probe, json!({})).and_then(|()| {
        let Some(sample) = samples.first() else {
            return Ok(());
        };
        let model = rig.fresh_dir("model")?.join("model.onnx");
        std::fs::write(&model, &sample.model)?;
        let job = SupportsJob {
            slice: sample.info(Some(super::rig::text(&model)?)),
            options: crate::job::Options::new(),
        };
        compare(
            Op::Supports,
            serde_json::to_value(job).map_err(super::rig::json)?,
        )
    });
    if let Err(e) = outcome {
        complaints.push(e.message);
    }
    complaints
}

/// Adds fields to every object except `options`, whose keys are the backend's own.
fn add_fields(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (key, value) in map.iter_mut() {
                if key != "options" {
                    add_fields(value);
                }
            }
            map.insert(
                "field_of_the_future".into(),
                json!({"text": "\"\\\u{e9}", "numbers": [1, -2.5e3, true, null]}),
            );
        }
        Value::Array(items) => items.iter_mut().for_each(add_fields),
        _ => {}
    }
}

fn head(reply: &RawReply) -> String {
    let text: String = String::from_utf8_lossy(&reply.bytes)
        .chars()
        .take(120)
        .collect();
    format!("status {} {text}", reply.status)
}

fn probe(rig: &Rig<'_>) -> crate::Result<()> {
    let (probe, _): (Probe, _) = rig.call(Op::Probe, &ProbeJob::default(), None)?;
    let helpful = probe.notes.iter().any(|n| !n.is_empty())
        || probe.tools.iter().any(|t| !t.ok && t.hint.is_some());
    if !probe.ready && !helpful {
        return Err(Error::internal(
            "it is not ready and gives neither a hint nor a note",
        ));
    }
    Ok(())
}

fn cancelled(rig: &Rig<'_>) -> crate::Result<()> {
    let (request, _) = rig.request(Op::Probe, &ProbeJob::default())?;
    let request = serde_json::to_vec(&request).map_err(super::rig::json)?;
    let reply = rig.caller.call("probe", &request, Some(Duration::ZERO));
    let found = match reply {
        Ok(reply) if reply.status == status::OK => Err("a reply".to_owned()),
        other => kind(other),
    };
    match expect("\"probe\"", found, &[ErrorKind::Cancelled]) {
        Some(line) => Err(Error::internal(line)),
        None => Ok(()),
    }
}
