//! Reads arbitrary bytes as model input: JSON and NumPy.
#![no_main]

use dsperse_store::Direction;
use dsperse_store::input::{parse_json, parse_npy};
use dsperse_plugin_api::{Encoding, TensorInfo};
use libfuzzer_sys::fuzz_target;
use std::path::Path;

fuzz_target!(|data: &[u8]| {
    let info = |name: &str, encoding, shape: &[u64]| TensorInfo {
        name: name.into(),
        encoding,
        shape: shape.to_vec(),
    };
    let wanted = [
        info("x", Encoding::F32, &[1, 2]),
        info("n", Encoding::I64, &[]),
        info("b", Encoding::Bool, &[0, 3]),
    ];
    let path = Path::new("input");
    for wanted in [&wanted[..], &wanted[..1], &wanted[1..2], &wanted[2..]] {
        for direction in [Direction::Input, Direction::Output] {
            for parsed in [
                parse_json(path, data, wanted, direction),
                parse_npy(path, data, wanted, direction),
            ] {
                let Ok(tensors) = parsed else { continue };
                assert_eq!(tensors.len(), wanted.len());
                for (t, w) in tensors.iter().zip(wanted) {
                    assert_eq!(t.info.shape, w.shape);
                    assert!(t.to_f64().iter().all(|v| v.is_finite()));
                }
            }
        }
    }
});
