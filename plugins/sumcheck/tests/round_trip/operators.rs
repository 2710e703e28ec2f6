//! Every operator, proven and verified: the cases of `tests/data/operators.py`, calibrated
//! with three samples and proven on the fourth.

use crate::bench::Bench;
use dsperse_onnx::ModelProto;
use dsperse_plugin_api::{Backend, Support, SupportsJob, Verdict};
use dsperse_sumcheck_lowering::import;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use zip::ZipArchive;

/// The archive of cases.
pub struct Cases(ZipArchive<File>);

impl Cases {
    pub fn open() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/operators.zip");
        Self(ZipArchive::new(File::open(path).expect("there")).expect("an archive"))
    }

    /// The cases' names, in order.
    pub fn names(&self) -> BTreeSet<String> {
        let files = self.0.file_names();
        files
            .filter_map(|n| Some(n.ok()?.strip_suffix("/model.onnx")?.to_owned()))
            .collect()
    }

    /// The bytes of a case's model.
    pub fn model(&mut self, name: &str) -> Vec<u8> {
        let mut model = Vec::new();
        let file = self.0.by_name(&format!("{name}/model.onnx"));
        let read = file.expect("there").read_to_end(&mut model);
        read.expect("readable");
        model
    }
}

/// An array of the archive, flat.
pub fn floats(cases: &mut Cases, name: &str) -> Vec<f32> {
    let file = npyz::NpyFile::new(cases.0.by_name(name).expect("there")).expect("an array");
    file.into_vec().expect("floats")
}

#[test]
fn every_operator_is_proven() {
    let mut archive = Cases::open();
    for name in archive.names() {
        let model = archive.model(&name);
        let proto = ModelProto::parse(model.clone()).expect("a model");
        let graph = import::import(&proto, None).expect("supported");
        let shapes = |ids: &[usize]| -> Vec<Vec<u64>> {
            ids.iter()
                .map(|&id| graph.shape(id).iter().map(|&d| d as u64).collect())
                .collect()
        };
        let (inputs, outputs) = (shapes(&graph.inputs), shapes(&graph.outputs));
        let bench = Bench::new(&model, &inputs, &outputs);
        let support = SupportsJob {
            slice: bench.slice.clone(),
            options: bench.options.clone(),
        };
        let support = bench.with("supports", |b, cx| b.supports(&support, cx));
        assert!(
            matches!(support, Ok(Support::Yes { .. })),
            "{name}: {support:?}"
        );
        let mut sample = |s: usize| -> Vec<Vec<f32>> {
            (0..inputs.len())
                .map(|i| floats(&mut archive, &format!("{name}/{s}/input_{i}.npy")))
                .collect()
        };
        let calibration = (0..3)
            .map(|s| bench.inputs(&format!("calibration_{s}"), &sample(s)))
            .collect();
        let last = bench.inputs("input", &sample(3));
        let run = bench.run(calibration, last);
        let verdict = bench.verify(&run.job);
        assert!(
            matches!(verdict, Verdict::Valid { .. }),
            "{name}: {verdict:?}"
        );
        for (i, file) in run.job.outputs.iter().enumerate() {
            let found = file.read_values().expect("readable").to_f64();
            let expected = floats(&mut archive, &format!("{name}/3/output_{i}.npy"));
            let scale = expected.iter().fold(0f64, |m, x| m.max(f64::from(x.abs())));
            for (x, y) in found.iter().zip(&expected) {
                // The fidelity target is on calibration samples; this is another one.
                let off = (x - f64::from(*y)).abs() / scale;
                assert!(off < 0.03, "{name}: {x} against {y}");
            }
        }
    }
}
