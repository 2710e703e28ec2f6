//! A small model with three slices, for the tests of this crate.

use crate::{Access, NewSlices, Shape, SliceStore};
use dsperse_documents::digest::sha256_hex;
use dsperse_documents::{Compilation, ModelFile, ModelMetadata, SliceSummary};
use dsperse_plugin_api::{Artefact, Encoding, Role, TensorInfo};
use std::fs;
use std::path::Path;

pub(crate) fn info(name: &str, shape: &[u64]) -> TensorInfo {
    TensorInfo {
        name: name.into(),
        encoding: Encoding::F32,
        shape: shape.to_vec(),
    }
}

/// What stands for the ONNX file of a slice.
pub(crate) fn payload(i: usize) -> Vec<u8> {
    format!("onnx of slice {i} ").repeat(8).into_bytes()
}

/// x → slice 0 → a → slice 1 → b; slice 2 reads a and b and makes y.
pub(crate) fn model() -> ModelMetadata {
    let slice = |i: usize, inputs: &[&str], output: &str| SliceSummary {
        index: i,
        payload_sha256: sha256_hex(&payload(i)),
        payload_size: payload(i).len() as u64,
        inputs: inputs.iter().map(|n| info(n, &[1, 4])).collect(),
        outputs: vec![info(output, &[1, 4])],
        operators: [("Gemm".to_owned(), 1)].into(),
        parameters: 20 * (i as u64 + 1),
        macs: 16,
        ..SliceSummary::default()
    };
    let mut m = ModelMetadata {
        tool_version: "0.1.0".into(),
        model: ModelFile {
            name: "model.onnx".into(),
            size: 3,
            sha256: sha256_hex(b"abc"),
            ..ModelFile::default()
        },
        inputs: vec![info("x", &[1, 4])],
        outputs: vec![info("y", &[1, 4])],
        slices: vec![
            slice(0, &["x"], "a"),
            slice(1, &["a"], "b"),
            slice(2, &["a", "b"], "y"),
        ],
        ..ModelMetadata::default()
    };
    m.extra.insert("from_the_future".into(), "kept".into());
    m.seal().unwrap();
    m
}

/// Writes the model's slices to `target`.
pub(crate) fn create(target: &Path, shape: Shape) -> bool {
    let new = NewSlices::create(target, shape).unwrap();
    for i in 0..3 {
        fs::write(new.payload_path(i).unwrap(), payload(i)).unwrap();
    }
    let created = new.finish(&model()).unwrap();
    assert_eq!(created.path, target.canonicalize().unwrap());
    created.unchanged
}

/// Artefacts of the made-up backend `demo`.
pub(crate) const ARTEFACTS: [(&str, Role, &str); 4] = [
    ("circuit", Role::Proving, "circuit.bin"),
    ("verifying_key", Role::Verifying, "keys/vk.bin"),
    ("settings", Role::Public, "settings.json"),
    ("trapdoor", Role::Secret, "secret.bin"),
];

pub(crate) fn content(i: usize, name: &str, generation: u32) -> Vec<u8> {
    format!("{name} of slice {i}, generation {generation}").into_bytes()
}

/// Writes a job's files and returns the compilation that declares them.
pub(crate) fn job(dir: &Path, i: usize, generation: u32) -> Compilation {
    let mut artefacts = Vec::new();
    for (name, role, path) in ARTEFACTS {
        let to = dir.join(path);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::write(to, content(i, name, generation)).unwrap();
        artefacts.push(Artefact::new(name, role, path));
    }
    fs::write(dir.join("scratch.tmp"), b"not declared").unwrap();
    Compilation {
        backend_version: format!("{generation}.0.0"),
        payload_sha256: sha256_hex(&payload(i)),
        artefacts,
        ..Compilation::default()
    }
}

/// Compiles slice `i` with `demo`.
pub(crate) fn compile(store: &SliceStore, i: usize, generation: u32) {
    let scratch = store.scratch().unwrap();
    let compilation = job(scratch.path(), i, generation);
    store
        .install_compilation(i, "demo", scratch.path(), compilation, |m| {
            m.backend = Some("demo".into());
            m.extra.insert("note".into(), "kept too".into());
        })
        .unwrap();
}

/// Compiles the given slices in place.
pub(crate) fn compile_at(path: &Path, slices: &[usize], generation: u32) {
    let store = SliceStore::open(path, Access::Edit).unwrap();
    for i in slices {
        compile(&store, *i, generation);
    }
    store.commit().unwrap();
}

/// Checks every value of the slices; `generations[i]` is that of the compilation of slice
/// `i`, 0 when it has none.
pub(crate) fn check(path: &Path, generations: [u32; 3]) {
    let store = SliceStore::open(path, Access::Read).unwrap();
    assert_eq!(store.model(), Some(&model()));
    assert_eq!(store.indices(), [0, 1, 2]);
    for (i, generation) in generations.into_iter().enumerate() {
        let onnx = store.payload(i).unwrap().unwrap();
        assert_eq!(fs::read(onnx).unwrap(), payload(i));
        let m = store.slice(i).unwrap();
        if generation == 0 {
            assert!(m.compilations.is_empty());
            continue;
        }
        assert_eq!(m.backend.as_deref(), Some("demo"));
        assert_eq!(m.extra.get("note"), Some(&"kept too".into()));
        let c = m.compilations.get("demo").unwrap();
        assert_eq!(c.backend_version, format!("{generation}.0.0"));
        assert_eq!(c.artefacts.len(), ARTEFACTS.len());
        for (a, (name, role, file)) in c.artefacts.iter().zip(ARTEFACTS) {
            assert_eq!((a.name.as_str(), a.role), (name, role));
            assert_eq!(a.path, format!("demo/{file}"));
            let bytes = fs::read(store.artefact(i, a).unwrap()).unwrap();
            assert_eq!(bytes, content(i, name, generation));
        }
        let circuit = store.circuit(i, "demo", &[Role::Verifying]).unwrap();
        assert_eq!(circuit.len(), 1);
        assert!(Path::new(&circuit[0].path).is_absolute());
    }
}

/// Names of what lies in a directory, sorted, lock files aside.
pub(crate) fn listing(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .filter(|n| !n.ends_with(".lock"))
        .collect();
    names.sort();
    names
}
