//! Documents as a side of API 1.0 sends them: only the fields that were there from the
//! start. They must be readable for ever, so a field that is added later needs a default.

use dsperse_plugin_api::abi::{BackendV1, ByteView};
use dsperse_plugin_api::abi::{CallRequest, HostV1, Op, OwnedBuffer};
use dsperse_plugin_api::*;
use serde::de::DeserializeOwned;

const SLICE: &str = r#"{"index":3,"model":"/m.onnx","sha256":"aa","model_sha256":"bb",
    "inputs":[{"name":"x","dtype":"f32","shape":[1,4]}],
    "outputs":[{"name":"y","dtype":"fixed","exponent":-18,"shape":[]}]}"#;
const INPUT: &str = r#"{"name":"x","dtype":"f32","shape":[1,4],"path":"/x.bin"}"#;
const ARTEFACT: &str = r#"{"name":"key","role":"verifying","path":"/key.bin","sha256":"cc"}"#;

/// Reads a document; `SLICE`, `INPUT` and `ARTEFACT` stand for themselves.
fn read<T: DeserializeOwned>(text: &str) -> T {
    let text = text
        .replace("SLICE", SLICE)
        .replace("INPUT", INPUT)
        .replace("ARTEFACT", ARTEFACT);
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{text}: {e}"))
}

#[test]
fn requests_of_1_0_are_readable() {
    let request: CallRequest<ProbeJob> = read(r#"{"job":{},"dir":"/job","threads":2}"#);
    assert_eq!((request.threads, request.memory), (2, None));

    let job: SupportsJob = read(r#"{"slice":SLICE}"#);
    assert_eq!(job.slice.index, 3);
    assert_eq!(
        job.slice.outputs[0].encoding,
        Encoding::Fixed { exponent: -18 }
    );
    let job: CompileJob = read(r#"{"slice":SLICE,"calibration":[[INPUT]]}"#);
    assert_eq!(job.calibration[0][0].path, "/x.bin");
    let job: WitnessJob = read(r#"{"slice":SLICE,"circuit":[ARTEFACT],"inputs":[INPUT]}"#);
    assert_eq!(job.circuit[0].role, Role::Verifying);
    let job: ProveJob =
        read(r#"{"slice":SLICE,"circuit":[ARTEFACT],"witness":[],"inputs":[INPUT],"outputs":[]}"#);
    assert_eq!(job.inputs[0].info.shape, [1, 4]);
    let job: VerifyJob = read(
        r#"{"slice":SLICE,"circuit":[],"proof":[ARTEFACT],"inputs":[INPUT],"outputs":[INPUT]}"#,
    );
    assert_eq!((job.proof.len(), job.tolerance), (1, 0.0));
}

#[test]
fn replies_of_1_0_are_readable() {
    let probe: Probe = read(r#"{"ready":false,"can_verify":true}"#);
    assert!(probe.can_verify && probe.tools.is_empty());
    assert_eq!(
        read::<Support>(r#"{"supported":"yes"}"#),
        Support::Yes {
            cost: Cost::default()
        }
    );
    assert!(matches!(
        read(r#"{"supported":"no","node":"n","op":"Loop","reason":"no loops"}"#),
        Support::No { op: Some(op), .. } if op == "Loop"
    ));
    let done: Done = read(
        r#"{"artefacts":[{"name":"key","role":"verifying","path":"key.bin"}],"outputs":[INPUT]}"#,
    );
    assert_eq!((done.artefacts[0].size, done.outputs.len()), (0, 1));
    assert_eq!(read::<Done>("{}"), Done::default());
    assert_eq!(read::<Verdict>(r#"{"verdict":"valid"}"#), Verdict::valid());
    assert_eq!(
        read::<Verdict>(r#"{"verdict":"invalid","reason":"no"}"#),
        Verdict::invalid("no")
    );
    assert_eq!(
        read::<Error>(r#"{"kind":"unsupported","message":"no","node":"n","op":"Loop"}"#),
        Error::unsupported("no").at_node("n", "Loop")
    );
}

#[test]
fn a_descriptor_of_1_0_is_readable() {
    let descriptor: Descriptor = read(
        r#"{"name":"old","version":"0.1.0","api_version":"1.0.0","summary":"s","licence":"MIT",
            "capabilities":{"stages":["compile","witness","prove","verify"],
            "operators":[{"op":"Relu"}],
            "proof":{"zero_knowledge":true,"binds_public_io":"strong","setup":"per_circuit"},
            "tools":[{"name":"t","version":"^1","install_hint":"get it"}]},
            "options":[{"key":"k","kind":"integer","help":"h"}]}"#,
    );
    let proof = descriptor.capabilities.proof.expect("properties");
    assert_eq!(proof.setup, Setup::PerCircuit);
    assert!(proof.zero_knowledge && !proof.succinct);
    assert!(!descriptor.options[0].affects_compile);
}

#[test]
fn operations_of_1_0_keep_their_names() {
    let names: Vec<&str> = Op::ALL.iter().take(6).map(|op| op.as_str()).collect();
    assert_eq!(
        names,
        ["probe", "supports", "compile", "witness", "prove", "verify"]
    );
}

/// The types are frozen: these numbers never change (on 64-bit systems).
#[test]
#[cfg(target_pointer_width = "64")]
fn sizes_of_the_frozen_types() {
    assert_eq!(size_of::<ByteView>(), 16);
    assert_eq!(size_of::<OwnedBuffer>(), 32);
    assert_eq!(std::mem::offset_of!(OwnedBuffer, release), 24);
    assert_eq!(size_of::<BackendV1>(), 32);
    assert_eq!(std::mem::offset_of!(BackendV1, describe), 16);
    // May grow at its end.
    assert_eq!(std::mem::offset_of!(HostV1, cancelled), 24);
}
