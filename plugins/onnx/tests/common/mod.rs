//! Jobs for the backend's tests: slices, tensor files and a host that wants nothing.

#![allow(dead_code)] // each test binary uses its own part

use dsperse_backend_onnx::OnnxBackend;
use dsperse_onnx::{GraphProto, ModelProto};
use dsperse_plugin_api::context::{Host, Level};
use dsperse_plugin_api::{
    Backend, Cx, Done, Encoding, Result, SliceInfo, Support, SupportsJob, TensorFile, TensorInfo,
    Verdict, VerifyJob, WitnessJob,
};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

struct Quiet;

impl Host for Quiet {
    fn log(&self, _: Level, _: &str) {}
    fn progress(&self, _: f64, _: &str) {}
    fn cancelled(&self) -> bool {
        false
    }
}

pub struct Bench {
    pub backend: OnnxBackend,
    pub dir: TempDir,
}

pub fn info(name: &str, encoding: Encoding, shape: &[u64]) -> TensorInfo {
    TensorInfo {
        name: name.into(),
        encoding,
        shape: shape.into(),
    }
}

pub fn bytes_of(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

pub fn floats_of(bytes: &[u8]) -> Vec<f32> {
    let (chunks, _) = bytes.as_chunks::<4>();
    chunks.iter().map(|c| f32::from_le_bytes(*c)).collect()
}

/// The repository's `models/`.
pub fn models() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models")
}

impl Bench {
    pub fn new() -> Self {
        Self {
            backend: OnnxBackend::default(),
            dir: tempfile::tempdir().unwrap(),
        }
    }

    pub fn cx<T>(&self, work: impl FnOnce(&OnnxBackend, &Cx) -> T) -> T {
        let cx = Cx::new(self.dir.path().to_owned(), 1, None, &Quiet);
        work(&self.backend, &cx)
    }

    /// A slice from an ONNX file.
    pub fn slice_of(
        &self,
        path: &Path,
        inputs: &[TensorInfo],
        outputs: &[TensorInfo],
    ) -> SliceInfo {
        SliceInfo {
            index: 0,
            model: Some(path.to_str().unwrap().into()),
            sha256: hex::encode(Sha256::digest(std::fs::read(path).unwrap())),
            model_sha256: "00".repeat(32),
            inputs: inputs.into(),
            outputs: outputs.into(),
        }
    }

    /// A slice from a graph; writes its ONNX file.
    pub fn slice(
        &self,
        graph: GraphProto,
        opset: i64,
        inputs: &[TensorInfo],
        outputs: &[TensorInfo],
    ) -> SliceInfo {
        self.slice_of_model(&ModelProto::from_graph(graph, opset), inputs, outputs)
    }

    pub fn slice_of_model(
        &self,
        model: &ModelProto,
        inputs: &[TensorInfo],
        outputs: &[TensorInfo],
    ) -> SliceInfo {
        let bytes = model.to_bytes();
        let name = hex::encode(&Sha256::digest(&bytes)[..8]);
        let path = self.dir.path().join(format!("{name}.onnx"));
        std::fs::write(&path, bytes).unwrap();
        self.slice_of(&path, inputs, outputs)
    }

    /// A tensor in a file of this bench.
    pub fn tensor(&self, info: &TensorInfo, bytes: &[u8]) -> TensorFile {
        let path = tempfile::Builder::new()
            .prefix("tensor")
            .tempfile_in(&self.dir)
            .unwrap()
            .into_temp_path()
            .keep()
            .unwrap();
        std::fs::write(&path, bytes).unwrap();
        TensorFile {
            info: info.clone(),
            path: path.to_str().unwrap().into(),
            sha256: String::new(),
        }
    }

    pub fn supports(&self, slice: &SliceInfo) -> Result<Support> {
        let job = SupportsJob {
            slice: slice.clone(),
            options: Default::default(),
        };
        self.cx(|b, cx| b.supports(&job, cx))
    }

    pub fn witness_done(&self, slice: &SliceInfo, inputs: &[TensorFile]) -> Result<Done> {
        let job = WitnessJob {
            slice: slice.clone(),
            circuit: vec![],
            inputs: inputs.into(),
            options: Default::default(),
        };
        self.cx(|b, cx| b.witness(&job, cx))
    }

    /// Runs a slice; gives the outputs' bytes.
    pub fn witness(&self, slice: &SliceInfo, inputs: &[TensorFile]) -> Result<Vec<Vec<u8>>> {
        let done = self.witness_done(slice, inputs)?;
        for (made, declared) in done.outputs.iter().zip(&slice.outputs) {
            assert_eq!(made.info, *declared);
        }
        let read = |t: &TensorFile| std::fs::read(self.dir.path().join(&t.path)).unwrap();
        Ok(done.outputs.iter().map(read).collect())
    }

    pub fn verify(
        &self,
        slice: &SliceInfo,
        inputs: &[TensorFile],
        outputs: &[TensorFile],
        tolerance: f64,
    ) -> Result<Verdict> {
        let job = VerifyJob {
            slice: slice.clone(),
            circuit: vec![],
            proof: vec![],
            inputs: inputs.into(),
            outputs: outputs.into(),
            tolerance,
            options: Default::default(),
        };
        self.cx(|b, cx| b.verify(&job, cx))
    }
}
