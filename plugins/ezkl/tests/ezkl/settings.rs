//! What `compile` decides before it makes keys: the SRS, memory, fidelity, headroom.

use crate::{ezkl, first_slice, options, second_slice, with_cx};
use dsperse_backend_ezkl::EzklBackend;
use dsperse_backend_ezkl::driver::Ezkl;
use dsperse_backend_ezkl::files::Work;
use dsperse_backend_ezkl::prepare::{Fidelity, build, settle};
use dsperse_backend_ezkl::srs::Places;
use dsperse_onnx::{ModelProto, NodeProto, Values};
use dsperse_plugin_api::job::Options;
use dsperse_plugin_api::{
    Backend, Cx, Done, Error, ErrorKind, ProbeJob, Result, Support, SupportsJob,
};
use dsperse_test_support::stages::{Quiet, Sample, compile_job, model, noise};
use serde_json::{Value, json};
use std::path::Path;

fn settings(value: Value) -> Options {
    value.as_object().cloned().unwrap()
}

fn compile(options: Options, memory: Option<u64>) -> Result<Done> {
    let dir = tempfile::tempdir().unwrap();
    let job = compile_job(dir.path(), &first_slice(), options, &[]);
    let cx = Cx::new(dir.path().join("job"), 2, memory, &Quiet);
    EzklBackend::open(&cx)?.compile(&job, &cx)
}

fn missing_srs(result: Result<Done>) -> Error {
    let e = result.unwrap_err();
    assert_eq!(e.kind, ErrorKind::ToolMissing, "{e}");
    let hint = e.hint.as_deref().unwrap();
    assert!(hint.contains("get_srs") && hint.contains("insecure_test_srs"));
    e
}

#[test]
#[ignore = "needs EZKL: scripts/install-backends.sh ezkl"]
fn an_srs_that_is_missing_or_wrong_is_a_missing_tool() {
    ezkl();
    let dir = tempfile::tempdir().unwrap();
    let options = settings(json!({"srs_dir": dir.path()}));
    let e = missing_srs(compile(options.clone(), None));
    assert!(e.message.contains("kzg15.srs"), "{e}");
    // Files of the wrong size stay as they are: EZKL's own command would delete them.
    let path = dir.path().join("kzg15.srs");
    for bytes in [&b""[..], &[7; 1000]] {
        std::fs::write(&path, bytes).unwrap();
        let e = missing_srs(compile(options.clone(), None));
        assert!(e.message.contains("bytes, expected 4194564"), "{e}");
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
    }
    // A file for fewer rows than the slice wants.
    let wish = settings(json!({"srs_dir": dir.path(), "logrows": 17}));
    assert!(missing_srs(compile(wish, None)).message.contains("2^17"));

    // supports and probe see it too.
    std::fs::remove_file(&path).unwrap();
    with_cx(|cx, dir| {
        let backend = EzklBackend::open(cx)?;
        let slice = compile_job(dir, &first_slice(), options.clone(), &[]).slice;
        let options = options.clone();
        let job = SupportsJob {
            slice,
            options: options.clone(),
        };
        let e = backend.supports(&job, cx).unwrap_err();
        assert_eq!(e.kind, ErrorKind::ToolMissing);
        let probe = backend.probe(&ProbeJob { options }, cx)?;
        assert!(!probe.ready && probe.can_verify);
        assert!(probe.tools[1].hint.as_ref().unwrap().contains("get_srs"));
        Ok(())
    })
    .unwrap();
}

#[test]
#[ignore = "needs EZKL: scripts/install-backends.sh ezkl"]
fn too_little_memory_is_said_before_any_work() {
    let ezkl = ezkl();
    let e = compile(options(&ezkl), Some(100 << 20)).unwrap_err();
    assert_eq!(e.kind, ErrorKind::Resource);
    assert!(e.message.contains("the limit is 100 MB"), "{e}");
}

/// Settings and circuit, without keys.
fn prepared(
    ezkl: &Ezkl,
    model: &ModelProto,
    sample: &Sample,
    options: &Options,
) -> Result<Fidelity> {
    with_cx(|cx, dir: &Path| {
        let samples = std::slice::from_ref(sample);
        let job = compile_job(dir, model, options.clone(), samples);
        let work = Work::new(cx)?;
        let settled = settle(ezkl, &job, &Places::new(options)?, &work, cx)?;
        build(ezkl, &job, &settled, &work, cx)
    })
}

#[test]
#[ignore = "needs EZKL: scripts/install-backends.sh ezkl"]
fn a_slice_that_is_too_far_from_the_floats_is_unsupported() {
    let ezkl = ezkl();
    let options = options(&ezkl);
    let inputs = vec![noise(8, 5)];
    let right: Vec<f32> = (0..3)
        .map(|j| {
            let (w, b) = (noise(24, 3), noise(3, 4));
            b[j] + (0..8).map(|i| inputs[0][i] * w[3 * i + j]).sum::<f32>()
        })
        .collect();
    let mut sample = Sample {
        inputs,
        outputs: vec![right],
    };
    let found = prepared(&ezkl, &second_slice(), &sample, &options).unwrap();
    assert!(found.max_error.unwrap() < 1e-3);
    assert_eq!(found.warnings, [""; 0]);
    sample.outputs[0][1] += 0.1;
    let e = prepared(&ezkl, &second_slice(), &sample, &options).unwrap_err();
    assert_eq!(e.kind, ErrorKind::Unsupported);
    assert!(
        e.message
            .contains("of the largest output, allowed is 2.000e-2")
    );
    // The bound is the user's.
    let mut loose = options;
    loose.insert("max_error".into(), json!(0.5));
    assert!(prepared(&ezkl, &second_slice(), &sample, &loose).is_ok());
}

#[test]
#[ignore = "needs EZKL: scripts/install-backends.sh ezkl"]
fn small_headroom_is_a_warning_and_overflow_is_unsupported() {
    let ezkl = ezkl();
    let options = options(&ezkl);
    let relu = model(
        &[("x", &[1, 2])],
        &[("y", &[1, 2])],
        vec![("k", &[1], Values::F32(vec![1.0]))],
        vec![
            NodeProto::new("Mul", &["x", "k"], &["m"]),
            NodeProto::new("Relu", &["m"], &["y"]),
        ],
    );
    let at = |v: f32| Sample {
        inputs: vec![vec![v, -v]],
        outputs: vec![vec![v, 0.0]],
    };
    let warnings = |v| prepared(&ezkl, &relu, &at(v), &options).map(|f| f.warnings);
    assert_eq!(warnings(1.0).unwrap(), [""; 0]);
    let tight = warnings(20_000.0).unwrap();
    assert!(tight[0].contains("twice as large"), "{tight:?}");
    let e = warnings(40_000.0).unwrap_err();
    assert_eq!(e.kind, ErrorKind::Unsupported);
}

#[test]
#[ignore = "needs EZKL: scripts/install-backends.sh ezkl"]
fn values_that_are_no_numbers_are_refused() {
    let ezkl = ezkl();
    for bad in [f32::NAN, f32::INFINITY] {
        let sample = Sample {
            inputs: vec![vec![bad; 8]],
            outputs: vec![vec![0.0; 3]],
        };
        let e = prepared(&ezkl, &second_slice(), &sample, &options(&ezkl)).unwrap_err();
        assert_eq!(e.kind, ErrorKind::InvalidInput, "{e}");
    }
}

#[test]
#[ignore = "needs EZKL: scripts/install-backends.sh ezkl"]
fn supports_names_the_node() {
    let ezkl = ezkl();
    let model = model(
        &[("x", &[1, 4])],
        &[("y", &[1, 4])],
        vec![],
        vec![
            NodeProto::new("Relu", &["x"], &["r"]),
            NodeProto::new("Sqrt", &["r"], &["y"]),
        ],
    );
    let support = with_cx(|cx, dir| {
        let job = compile_job(dir, &model, options(&ezkl), &[]);
        let job = SupportsJob {
            slice: job.slice,
            options: job.options,
        };
        EzklBackend::open(cx)?.supports(&job, cx)
    })
    .unwrap();
    match support {
        Support::No { node, op, .. } => {
            assert_eq!(node.as_deref(), Some("n1"));
            assert_eq!(op.as_deref(), Some("Sqrt"));
        }
        Support::Yes { .. } => panic!("Sqrt is not supported"),
    }
}
