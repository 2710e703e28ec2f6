//! The strongest cheat: a true proof, of another model, under a key that is filed as this
//! slice's.

use super::world::{Lab, World};
use dsperse_documents::{Artefact, SliceMetadata};
use dsperse_onnx::ModelProto;
use dsperse_plugin_api::{
    ArtefactRef, CompileJob, Done, ProveJob, TensorFile, WitnessJob, job::Options,
};
use dsperse_plugin_host::{Control, Reply, Request};
use dsperse_store::TensorStore;
use serde_json::json;
use std::fs;
use std::path::Path;

/// The slice that is forged: the last one, whose output is the model's.
const SLICE: usize = 2;

/// Makes the first weights of a slice's ONNX file others.
pub fn change_weights(from: &Path, to: &Path) {
    let mut model = ModelProto::parse(fs::read(from).expect("a file")).expect("an ONNX file");
    let graph = model.graph.as_mut().expect("a graph");
    let weights = &mut graph.initializer[0];
    let mut raw = weights.raw_data.clone().expect("raw data").to_vec();
    for value in raw.chunks_exact_mut(4).take(64) {
        value.copy_from_slice(&0.25f32.to_le_bytes());
    }
    weights.raw_data = Some(raw.into());
    fs::write(to, model.to_bytes()).expect("a write");
}

fn options(w: &World) -> Options {
    let mut options = Options::new();
    if w.backend == "ezkl" {
        options.insert("srs_dir".into(), json!(w.root().join("srs")));
        options.insert("insecure_test_srs".into(), json!(true));
    }
    options
}

fn call(lab: &Lab, w: &World, request: Request, dir: &Path) -> Done {
    fs::create_dir_all(dir).expect("a directory");
    match lab.host.call(w.backend, request, Control::new(dir)).result {
        Ok(Reply::Done(done)) => done,
        other => panic!("the cheat's own prover fails: {other:?}"),
    }
}

fn refs(list: &[Artefact], dir: &Path) -> Vec<ArtefactRef> {
    list.iter()
        .map(|a| ArtefactRef {
            name: a.name.clone(),
            role: a.role,
            path: dir.join(&a.path).to_string_lossy().into_owned(),
            sha256: a.sha256.clone(),
        })
        .collect()
}

/// Compiles a slice with other weights under the true slice's name, proves it, and files
/// circuit, key, output and proof as if they were the true ones, with all digests.
pub fn forge(w: &World, lab: &Lab) {
    let (compiled, witnessed, proven) = (
        w.root().join("forge-c"),
        w.root().join("forge-w"),
        w.root().join("forge-p"),
    );
    let other = w.root().join("other.onnx");
    change_weights(&w.payload(SLICE), &other);
    let metadata: SliceMetadata = w.slice_metadata(SLICE);
    // All that a prover's own program is told is that this is the slice.
    let slice = metadata.slice_info(Some(other.to_string_lossy().into_owned()));
    let store = TensorStore::open(&w.run().join("tensors")).expect("a store");
    let inputs: Vec<TensorFile> = metadata
        .inputs
        .iter()
        .map(|t| store.file(&t.name).expect("a tensor"))
        .collect();
    let options = options(w);
    let done = call(
        lab,
        w,
        Request::Compile(CompileJob {
            slice: slice.clone(),
            calibration: Vec::new(),
            calibration_outputs: Vec::new(),
            options: options.clone(),
        }),
        &compiled,
    );
    let circuit = refs(&done.artefacts, &compiled);
    let witness = call(
        lab,
        w,
        Request::Witness(WitnessJob {
            slice: slice.clone(),
            circuit: circuit.clone(),
            inputs: inputs.clone(),
            options: options.clone(),
        }),
        &witnessed,
    );
    let outputs: Vec<TensorFile> = witness
        .outputs
        .iter()
        .map(|t| TensorFile {
            path: witnessed.join(&t.path).to_string_lossy().into_owned(),
            ..t.clone()
        })
        .collect();
    let proof = call(
        lab,
        w,
        Request::Prove(ProveJob {
            slice,
            circuit,
            witness: refs(&witness.artefacts, &witnessed),
            inputs,
            outputs: outputs.clone(),
            options,
        }),
        &proven,
    );
    let recorded = &metadata.compilations[w.backend].artefacts;
    for a in &done.artefacts {
        let known = recorded.iter().find(|r| r.name == a.name);
        let to = w.slice(SLICE).join(&known.expect("the same names").path);
        fs::copy(compiled.join(&a.path), to).expect("a copy");
    }
    let index = w.index();
    for t in &outputs {
        let record = index.get(&t.info.name).expect("a record");
        fs::copy(&t.path, w.run().join("tensors").join(&record.path)).expect("a copy");
        w.edit_index(|i| {
            for r in i.tensors.iter_mut().filter(|r| r.name == t.info.name) {
                r.encoding = t.info.encoding;
            }
        });
    }
    for (a, f) in proof.artefacts.iter().zip(
        &w.results().slices[SLICE]
            .proof_execution
            .as_ref()
            .expect("a proof")
            .files,
    ) {
        assert_eq!(a.name, f.name);
        fs::copy(proven.join(&a.path), w.run().join(&f.path)).expect("a copy");
    }
    w.reseal();
}
