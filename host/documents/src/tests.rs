//! Tests of the documents.

use crate::*;
use serde_json::{Value, json};

fn info(name: &str, shape: &[u64]) -> TensorInfo {
    TensorInfo {
        name: name.into(),
        encoding: Encoding::F32,
        shape: shape.to_vec(),
    }
}

fn sha(c: char) -> String {
    c.to_string().repeat(64)
}

/// x → 0 → a; 1 reads a twice over; 2 reads x, a and b (a residual connection).
fn model() -> ModelMetadata {
    let slice = |index: usize, inputs: &[&str], output: &str, macs| SliceSummary {
        index,
        payload_sha256: sha(['a', 'b', 'c'][index]),
        inputs: inputs.iter().map(|n| info(n, &[2])).collect(),
        outputs: vec![info(output, &[2])],
        parameters: 10,
        macs,
        ..SliceSummary::default()
    };
    let mut m = ModelMetadata {
        model: ModelFile {
            name: "m.onnx".into(),
            size: 9,
            sha256: sha('0'),
            ..ModelFile::default()
        },
        inputs: vec![info("x", &[2])],
        outputs: vec![info("y", &[2]), info("a", &[2])],
        slices: vec![
            slice(0, &["x"], "a", 60),
            slice(1, &["a"], "b", 30),
            slice(2, &["x", "a", "b"], "y", 10),
        ],
        ..ModelMetadata::default()
    };
    m.seal().unwrap();
    m
}

#[test]
fn edges_follow_from_the_slices() {
    let m = model();
    let edges: Vec<_> = m
        .edges
        .iter()
        .map(|e| {
            (
                e.tensor.as_str(),
                e.producer,
                e.consumers.as_slice(),
                e.model_output,
            )
        })
        .collect();
    assert_eq!(
        edges,
        [
            ("x", None, &[0, 2][..], false),
            ("a", Some(0), &[1, 2], true),
            ("b", Some(1), &[2], false),
            ("y", Some(2), &[], true),
        ]
    );
    assert_eq!(m.validate(), Ok(()));
}

#[test]
fn graphs_that_make_no_sense_are_refused() {
    let change = |f: &dyn Fn(&mut ModelMetadata)| {
        let mut m = model();
        f(&mut m);
        m.seal().unwrap_err()
    };
    let e = change(&|m| m.slices.swap(0, 1));
    assert!(matches!(e, ModelError::Unproduced { slice: 1, .. }), "{e}");
    let e = change(&|m| m.slices[1].outputs[0].name = "a".into());
    assert!(
        matches!(e, ModelError::ProducedTwice { slice: 1, .. }),
        "{e}"
    );
    let e = change(&|m| m.slices[2].inputs[0].shape = vec![1, 2]);
    assert!(matches!(e, ModelError::Mismatch { slice: 2, .. }), "{e}");
    let e = change(&|m| m.outputs[0].encoding = Encoding::F64);
    assert!(matches!(e, ModelError::Mismatch { slice: 2, .. }), "{e}");
    let e = change(&|m| m.outputs[0].name = "z".into());
    assert_eq!(e.to_string(), "model output \"z\" is produced by no slice");
}

#[test]
fn the_identity_covers_what_a_verdict_rests_on() {
    let m = model();
    type Change = fn(&mut ModelMetadata);
    let changes: [(&str, Change); 12] = [
        ("original bytes", |m| m.model.sha256 = sha('1')),
        ("external data", |m| {
            m.model.external_data.push(ExternalFile::default());
        }),
        ("payload", |m| m.slices[1].payload_sha256 = sha('1')),
        ("a slice dropped", |m| {
            m.slices.pop();
        }),
        ("slices swapped", |m| m.slices.swap(0, 1)),
        ("parameters", |m| m.slices[0].parameters += 1),
        ("macs", |m| m.slices[0].macs += 1),
        ("slice input", |m| m.slices[2].inputs.swap(0, 1)),
        ("slice output", |m| m.slices[2].outputs[0].name = "z".into()),
        ("model input shape", |m| m.inputs[0].shape = vec![1, 2]),
        ("model output order", |m| m.outputs.swap(0, 1)),
        ("encoding", |m| {
            m.inputs[0].encoding = Encoding::Fixed { exponent: -1 }
        }),
    ];
    let mut seen = vec![m.identity.clone()];
    for (what, change) in changes {
        let mut other = m.clone();
        change(&mut other);
        let identity = other.compute_identity();
        assert!(!seen.contains(&identity), "{what} must change the identity");
        assert!(other.validate().is_err(), "{what} must not validate");
        seen.push(identity);
    }
    // Names of files and of the strategy are labels.
    let mut same = m.clone();
    same.model.name = "renamed.onnx".into();
    same.strategy.name = "op".into();
    assert_eq!(same.compute_identity(), m.identity);
    // The rule is part of the format: it must never change silently.
    assert_eq!(
        m.identity,
        "246fb6cd7c965db8dcec9440b4ca32bd5d307e2f76f81c265b1419ea8a6b34b5"
    );
}

#[test]
fn contradictions_in_the_document_are_found() {
    let change = |f: &dyn Fn(&mut ModelMetadata)| {
        let mut m = model();
        f(&mut m);
        m.validate().unwrap_err().to_string()
    };
    assert!(change(&|m| m.identity = sha('9')).contains("identity"));
    assert!(change(&|m| m.edges[1].consumers = vec![2]).contains("\"a\""));
    assert!(change(&|m| m.edges[0].producer = Some(0)).contains("\"x\""));
    assert!(change(&|m| m.edges[3].model_output = false).contains("\"y\""));
    assert!(
        change(&|m| m.edges.push(Edge {
            tensor: "ghost".into(),
            ..Edge::default()
        }))
        .contains("\"ghost\"")
    );
    assert!(change(&|m| m.slices[2].index = 7).contains("expected slice 2"));
    assert!(change(&|m| m.slices.clear()).contains("no slices"));
    assert!(change(&|m| m.model.sha256 = "ABC".into()).contains("lower-case hex"));
}

fn reread<D: Document + PartialEq + std::fmt::Debug>(d: &D) -> Value {
    let bytes = d.to_json().unwrap();
    assert_eq!(D::parse(&bytes).unwrap(), *d);
    serde_json::from_slice(&bytes).unwrap()
}

/// Adds an unknown field to every object of a document.
fn sprinkle(v: &mut Value) {
    match v {
        Value::Object(o) => {
            o.values_mut().for_each(sprinkle);
            o.insert("zz_future".into(), json!({"k": [1, 2.5, null]}));
        }
        Value::Array(a) => a.iter_mut().for_each(sprinkle),
        _ => {}
    }
}

#[test]
fn unknown_fields_survive_a_rewrite() {
    let mut v = reread(&model());
    // Not inside types that plugins share or maps from names to numbers.
    for key in ["model", "strategy"] {
        sprinkle(&mut v[key]);
    }
    for list in ["slices", "edges"] {
        for item in v[list].as_array_mut().unwrap() {
            item["zz_future"] = json!("kept");
        }
    }
    v["zz_future"] = json!(18_446_744_073_709_551_615u64);
    v["schema"] = json!("1.4.2");
    let d = ModelMetadata::parse(v.to_string().as_bytes()).unwrap();
    assert_eq!(reread(&d), v);

    let mut index = TensorIndex::default();
    for (name, encoding) in [
        ("x", Encoding::F32),
        ("q", Encoding::Fixed { exponent: -18 }),
    ] {
        index.tensors.push(TensorRecord {
            name: name.into(),
            encoding,
            shape: vec![1, 2],
            path: "f.bin".into(),
            size: 8,
            sha256: sha('a'),
            origin: TensorOrigin::Slice(3),
            extra: Extra::new(),
        });
    }
    let mut v = reread(&index);
    assert_eq!(
        v["tensors"][1],
        json!({"name": "q", "dtype": "fixed", "exponent": -18, "shape": [1, 2],
               "path": "f.bin", "size": 8, "sha256": sha('a'), "origin": {"slice": 3}})
    );
    v["tensors"][0]["zz_future"] = json!([true]);
    v["zz_future"] = json!({});
    let d = TensorIndex::parse(v.to_string().as_bytes()).unwrap();
    assert_eq!(reread(&d), v);
}

#[test]
fn stages_are_written_flat() {
    let mut r = RunResults {
        slices: vec![SliceRun {
            witness_execution: Some(StageOutcome {
                success: false,
                usage: Usage {
                    seconds: 1.5,
                    cpu_seconds: 2.25,
                    peak_bytes: 1024,
                    ..Usage::default()
                },
                error: Some(BackendError::resource("no memory").with_hint("buy some")),
                fallbacks: vec![Fallback::from_error(
                    "ezkl",
                    Stage::Compile,
                    &BackendError::unsupported("no").at_node("n1", "LSTM"),
                )],
                ..StageOutcome::default()
            }),
            proof_execution: Some(StageOutcome {
                usage: Usage {
                    seconds: 0.5,
                    cpu_seconds: 0.5,
                    peak_bytes: 4096,
                    ..Usage::default()
                },
                files: vec![Artefact {
                    size: 77,
                    ..Artefact::new("proof", Role::Public, "p")
                }],
                ..StageOutcome::default()
            }),
            ..SliceRun::default()
        }],
        ..RunResults::default()
    };
    r.update_totals();
    let v = reread(&r);
    let w = &v["slices"][0]["witness_execution"];
    assert_eq!(w["success"], json!(false));
    assert_eq!(w["seconds"], json!(1.5));
    assert_eq!(w["peak_bytes"], json!(1024));
    assert_eq!(w["error"]["kind"], json!("resource"));
    assert_eq!(w["error"]["hint"], json!("buy some"));
    assert_eq!(w["fallbacks"][0]["op"], json!("LSTM"));
    assert_eq!(w["fallbacks"][0]["kind"], json!("unsupported"));
    assert_eq!(v["totals"]["proof_bytes"], json!(77));
    assert_eq!(v["totals"]["stages"]["witness"]["cpu_seconds"], json!(2.25));
    let mut v = v;
    v["slices"][0]["witness_execution"]["zz"] = json!(1);
    let d = RunResults::parse(v.to_string().as_bytes()).unwrap();
    assert_eq!(reread(&d), v);
    // A number that JSON can't say is no number.
    let f = Fidelity {
        max_abs: Some(f64::NAN),
        ..Fidelity::default()
    };
    let text = serde_json::to_string(&f).unwrap();
    let f: Fidelity = serde_json::from_str(&text).unwrap();
    assert_eq!(f.max_abs, None);
}

#[test]
fn schemas_decide_what_is_read() {
    let parse = |schema: &str| {
        let text = format!(r#"{{{schema} "tensors": []}}"#);
        TensorIndex::parse(text.as_bytes()).map_err(|e| e.to_string())
    };
    assert!(parse(r#""schema": "1.0.0","#).is_ok());
    assert!(parse(r#""schema": "1.99.0","#).is_ok());
    for (schema, why) in [
        (
            r#""schema": "2.0.0","#,
            "tensors/index.json has schema 2.0.0, this program reads up to 1.x: update dsperse to read it",
        ),
        (
            r#""schema": "0.9.0","#,
            "tensors/index.json has schema 0.9.0, which no release of dsperse wrote; this program reads 1.x",
        ),
        (
            "",
            "tensors/index.json has no usable field \"schema\": expected a version such as \"1.0.0\", found nothing",
        ),
        (
            r#""schema": 1,"#,
            "tensors/index.json has no usable field \"schema\": expected a version such as \"1.0.0\", found 1",
        ),
        (
            r#""schema": "one","#,
            "tensors/index.json has no usable field \"schema\": expected a version such as \"1.0.0\", found \"one\"",
        ),
    ] {
        assert_eq!(parse(schema).unwrap_err(), why);
    }
    for text in ["", "[]", "null", "{", "\u{0}"] {
        assert!(TensorIndex::parse(text.as_bytes()).is_err());
    }
    let e = TensorIndex::parse(br#"{"schema": "1.0.0"}"#).unwrap_err();
    assert_eq!(
        e.to_string(),
        "tensors/index.json is not valid: missing field `tensors`"
    );
}

#[test]
fn a_report_concludes_from_the_verdicts() {
    let m = model();
    let report = |verdicts: &[(usize, Verdict)], require| {
        let mut r = VerificationReport {
            require,
            slices: verdicts
                .iter()
                .map(|(i, v)| SliceVerdict::new(*i, *v, sha('a')))
                .collect(),
            ..VerificationReport::default()
        };
        r.conclude(&m);
        r
    };
    use Verdict::{Failed, Proven, Recomputed, Unchecked};
    let r = report(
        &[(0, Proven), (1, Proven), (2, Recomputed)],
        Require::Checked,
    );
    assert!(r.accepted);
    assert_eq!(
        r.counts,
        Counts {
            proven: 2,
            recomputed: 1,
            ..Counts::default()
        }
    );
    assert_eq!(r.proven_by_macs, Some(0.9));
    assert_eq!(r.proven_by_parameters, Some(2.0 / 3.0));
    let all = [(0, Proven), (1, Proven), (2, Proven)];
    for (last, checked, proven, any) in [
        (Proven, true, true, true),
        (Recomputed, true, false, true),
        (Unchecked, false, false, true),
        (Failed, false, false, false),
    ] {
        let verdicts = [all[0], all[1], (2, last)];
        assert_eq!(
            report(&verdicts, Require::Checked).accepted,
            checked,
            "{last}"
        );
        assert_eq!(
            report(&verdicts, Require::Proven).accepted,
            proven,
            "{last}"
        );
        assert_eq!(report(&verdicts, Require::Any).accepted, any, "{last}");
    }
    // A slice left out, twice, or too many is never accepted.
    for bad in [
        &all[..2],
        &[all[0], all[1], all[1], all[2]],
        &[all[0], all[1], all[2], (3, Proven)],
    ] {
        let r = report(bad, Require::Any);
        assert!(!r.accepted && r.failures.len() == 1, "{:?}", r.failures);
    }
    assert!(!report(&[], Require::Any).accepted);
    // The receipt carries the digests and verdicts on.
    let receipt = r.receipt();
    reread(&receipt);
    assert!(receipt.accepted);
    assert_eq!(receipt.slices.len(), 3);
    assert_eq!(receipt.slices[2].verdict, Recomputed);
    reread(&r);
}

#[test]
fn a_verifiers_slice_drops_what_proves() {
    let m = model();
    let mut s = SliceMetadata::from_summary(&m.slices[0], &m.identity, "payload/slice_0.onnx");
    assert_eq!(s.contradiction(&m.slices[0], &m.identity), None);
    assert_eq!(s.contradiction(&m.slices[1], &m.identity), Some("index"));
    assert_eq!(
        s.contradiction(&m.slices[0], "other"),
        Some("model_identity")
    );
    assert!(
        s.clone().strip_for_verify().is_empty(),
        "nothing compiled: the payload stays"
    );
    let artefacts = [
        ("a", Role::Proving),
        ("b", Role::Verifying),
        ("c", Role::Public),
        ("d", Role::Secret),
    ];
    let c = Compilation {
        artefacts: artefacts
            .map(|(n, r)| Artefact::new(n, r, format!("p/{n}")))
            .to_vec(),
        ..Compilation::default()
    };
    s.compilations.insert("p".into(), c.clone());
    let mut without = s.clone();
    assert_eq!(
        without.strip_for_verify(),
        ["p/a", "p/d", "payload/slice_0.onnx"]
    );
    assert_eq!(without.payload.path, None);
    assert_eq!(without.payload.sha256, s.payload.sha256);
    reread(&without);
    s.compilations.insert(
        "q".into(),
        Compilation {
            verify_needs_payload: true,
            ..c
        },
    );
    assert!(
        !s.strip_for_verify()
            .contains(&"payload/slice_0.onnx".to_owned())
    );
}

#[test]
fn tensor_digests_depend_on_names_shapes_and_values() {
    let record = |name: &str, shape: &[u64], sha256: String| TensorRecord {
        name: name.into(),
        encoding: Encoding::F32,
        shape: shape.to_vec(),
        path: "p".into(),
        size: 0,
        sha256,
        origin: TensorOrigin::Input,
        extra: Extra::new(),
    };
    let d = |r: &[TensorRecord]| tensors::digest_of(r);
    let a = record("a", &[2], sha('1'));
    let b = record("b", &[2], sha('1'));
    let base = d(&[a.clone(), b.clone()]);
    assert_ne!(base, d(&[b.clone(), a.clone()]));
    assert_ne!(base, d(std::slice::from_ref(&a)));
    assert_ne!(base, d(&[record("a", &[1, 2], sha('1')), b.clone()]));
    assert_ne!(base, d(&[record("a", &[2], sha('2')), b.clone()]));
    let moved = TensorRecord {
        path: "q".into(),
        origin: TensorOrigin::Slice(1),
        ..a
    };
    assert_eq!(base, d(&[moved, b]), "files and origins are no values");
}

#[test]
fn what_a_refusal_and_a_run_depended_on_is_where_it_always_was() {
    let written = r#"{"backend":"a","stage":"compile","reason":"no","key":"k","later":1}"#;
    let fallback: Fallback = serde_json::from_str(written).unwrap();
    assert_eq!(fallback.key.as_deref(), Some("k"));
    assert_eq!(serde_json::to_string(&fallback).unwrap(), written);

    let mut run = serde_json::to_value(RunResults::default()).unwrap();
    assert!(run.get("key").is_none());
    run["key"] = "k".into();
    let results: RunResults = serde_json::from_value(run.clone()).unwrap();
    assert_eq!(results.key.as_deref(), Some("k"));
    assert!(results.extra.is_empty());
    assert_eq!(serde_json::to_value(&results).unwrap(), run);
}
