//! Opens arbitrary bytes as each kind of bundle and reads all that can be read.
//!
//! The first byte chooses: the bytes as a whole file, or as the `metadata.json`, or as an
//! entry's content, of an otherwise good archive.
#![no_main]

use dsperse_store::{Access, ConvertOptions, Limits, Shape, SliceStore, convert};
use libfuzzer_sys::fuzz_target;
use std::io::{Cursor, Write};
use zip::write::SimpleFileOptions;

fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut w = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, data) in entries {
        let stored = SimpleFileOptions::default()
            .compression_method(zip::CompressionMethod::Stored);
        w.start_file(*name, stored).unwrap();
        w.write_all(data).unwrap();
    }
    w.finish().unwrap().into_inner()
}

fuzz_target!(|data: &[u8]| {
    let Some((how, data)) = data.split_first() else {
        return;
    };
    let (name, bytes) = match how % 4 {
        0 => ("s.dsperse", data.to_vec()),
        1 => ("s.dslice", data.to_vec()),
        2 => ("s.dslice", archive(&[("metadata.json", data), ("payload/model.onnx", b"x")])),
        _ => ("s.dsperse", archive(&[("metadata.json", b"{}"), ("slice_0.dslice", data)])),
    };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    let limits = Limits {
        total_bytes: 1 << 24,
        ..Limits::default()
    };
    if let Ok(store) = SliceStore::open_with(&path, Access::Read, limits) {
        for i in store.indices() {
            let Ok(m) = store.slice(i) else { continue };
            let _ = store.payload(i);
            for a in m.compilations.values().flat_map(|c| &c.artefacts) {
                let _ = store.artefact(i, a);
            }
        }
    }
    let options = ConvertOptions {
        to: Some(Shape::Dirs),
        expand_slices: true,
        output: Some(dir.path().join("out")),
        cleanup: Some(false),
        ..ConvertOptions::default()
    };
    let _ = convert(&path, &options, limits);
    // Nothing appears but the bundle, its result and their locks.
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let found = entry.unwrap().file_name().into_string().unwrap();
        assert!(
            found == name || found == "out" || found.ends_with(".lock"),
            "{found}"
        );
    }
});
