//! Tests on the real EZKL, at 2^15 rows.

mod conformance;
mod operators;
mod pipeline;
mod settings;

use dsperse_backend_ezkl::EzklBackend;
use dsperse_backend_ezkl::driver::Ezkl;
use dsperse_onnx::{AttributeProto, ModelProto, NodeProto, Values};
use dsperse_plugin_api::job::Options;
use dsperse_plugin_api::{Cx, Result};
use dsperse_test_support::stages::{self, Quiet, model, needed, noise};
use serde_json::{Map, json};
use std::path::{Path, PathBuf};

type Slice = stages::Slice<EzklBackend>;

/// The real EZKL.
fn ezkl() -> Ezkl {
    let dir = tempfile::tempdir().unwrap();
    let cx = Cx::new(dir.path().to_owned(), 1, None, &Quiet);
    let found = Ezkl::find(&Map::new());
    needed("EZKL", found.and_then(|e| e.check(&cx).map(|()| e)))
}

/// Runs `f` with EZKL, a context in a directory of its own, and that directory.
fn with_cx<T>(f: impl FnOnce(&Cx, &Path) -> Result<T>) -> Result<T> {
    let dir = tempfile::tempdir().unwrap();
    f(
        &Cx::new(dir.path().join("job"), 2, None, &Quiet),
        dir.path(),
    )
}

/// Options with the test SRS, which is made once for each target directory: it costs
/// about 20 CPU seconds.
fn options(ezkl: &Ezkl) -> Options {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("ezkl-srs");
    std::fs::create_dir_all(&dir).unwrap();
    let lock = std::fs::File::create(dir.join("lock")).unwrap();
    lock.lock().unwrap();
    let file = dir.join("insecure-test-kzg15.srs");
    if !file.exists() {
        let made = dir.join("unfinished");
        with_cx(|cx, _| ezkl.must("test_srs", json!({"srs": made, "logrows": 15}), cx)).unwrap();
        std::fs::rename(made, file).unwrap();
    }
    let value = json!({"srs_dir": dir, "insecure_test_srs": true, "logrows": 15});
    value.as_object().cloned().unwrap()
}

/// A convolution, its activation and a pooling: `[1, 1, 6, 6]` to `[1, 8]`.
fn first_slice() -> ModelProto {
    model(
        &[("x", &[1, 1, 6, 6])],
        &[("m", &[1, 8])],
        vec![
            ("w", &[2, 1, 3, 3], Values::F32(noise(18, 1))),
            ("b", &[2], Values::F32(noise(2, 2))),
        ],
        vec![
            NodeProto::new("Conv", &["x", "w", "b"], &["c"]),
            NodeProto::new("Relu", &["c"], &["r"]),
            NodeProto::new("MaxPool", &["r"], &["p"])
                .with(AttributeProto::from_ints("kernel_shape", &[2, 2]))
                .with(AttributeProto::from_ints("strides", &[2, 2])),
            NodeProto::new("Flatten", &["p"], &["m"]),
        ],
    )
}

/// The next layer: `[1, 8]` to `[1, 3]`.
fn second_slice() -> ModelProto {
    model(
        &[("m", &[1, 8])],
        &[("y", &[1, 3])],
        vec![
            ("w", &[8, 3], Values::F32(noise(24, 3))),
            ("b", &[3], Values::F32(noise(3, 4))),
        ],
        vec![NodeProto::new("Gemm", &["m", "w", "b"], &["y"])],
    )
}
