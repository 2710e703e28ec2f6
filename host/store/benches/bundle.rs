//! Packing and unpacking a large bundle: time, rate and peak memory.
//!
//! `cargo bench -p dsperse-store --bench bundle [MiB]` (1024 by default). Ends with an
//! error when the peak is 200 MiB or more: content must be streamed.

use dsperse_documents::{Compilation, ModelFile, ModelMetadata, SliceSummary};
use dsperse_plugin_api::{Artefact, Encoding, Role, TensorInfo};
use dsperse_store::{Access, ConvertOptions, Limits, NewSlices, Shape, SliceStore, convert};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::Instant;

const MIB: u64 = 1 << 20;
const PEAK_LIMIT: u64 = 200 * MIB;

/// Writes bytes that don't compress.
fn noise(path: &Path, size: u64) {
    let mut file = File::create(path).unwrap();
    let mut state = size | 1;
    let mut chunk = vec![0u8; MIB as usize];
    let mut left = size;
    while left > 0 {
        for word in chunk.chunks_exact_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        let n = left.min(MIB);
        file.write_all(&chunk[..n as usize]).unwrap();
        left -= n;
    }
}

/// Peak memory of this process in bytes, from the kernel.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    let kib = line.and_then(|l| l.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kib.map_or(0, |k| k * 1024)
}

fn step<T>(what: &str, mib: u64, f: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let value = f();
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{what:<44} {seconds:>7.2} s {:>8.0} MiB/s   peak {:>4} MiB",
        mib as f64 / seconds,
        peak() / MIB
    );
    value
}

fn main() {
    let mib = std::env::args()
        .find_map(|a| a.parse::<u64>().ok())
        .unwrap_or(1024);
    // Beside the build, not in a temporary directory that may be memory.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let slices = dir.path().join("slices");
    let new = NewSlices::create(&slices, Shape::Dirs).unwrap();
    let payload = new.payload_path(0).unwrap();
    noise(&payload, mib / 2 * MIB);
    let (payload_size, payload_sha256) = dsperse_store::file_digest(&payload).unwrap();
    let info = |name: &str| TensorInfo {
        name: name.into(),
        encoding: Encoding::F32,
        shape: vec![1],
    };
    let mut model = ModelMetadata {
        model: ModelFile {
            sha256: payload_sha256.clone(),
            ..ModelFile::default()
        },
        inputs: vec![info("x")],
        outputs: vec![info("y")],
        slices: vec![SliceSummary {
            payload_sha256,
            payload_size,
            inputs: vec![info("x")],
            outputs: vec![info("y")],
            ..SliceSummary::default()
        }],
        ..ModelMetadata::default()
    };
    model.seal().unwrap();
    step("slices put in place", mib / 2, || {
        new.finish(&model).unwrap()
    });

    step("circuit installed", mib / 2, || {
        let store = SliceStore::open(&slices, Access::Edit).unwrap();
        let job = store.scratch().unwrap();
        noise(&job.path().join("circuit.bin"), mib / 2 * MIB);
        let compilation = Compilation {
            artefacts: vec![Artefact::new("circuit", Role::Proving, "circuit.bin")],
            ..Compilation::default()
        };
        store
            .install_compilation(0, "demo", job.path(), compilation, |_| {})
            .unwrap();
        store.commit().unwrap();
    });

    let to = |shape, cleanup| ConvertOptions {
        to: Some(shape),
        cleanup: Some(cleanup),
        ..ConvertOptions::default()
    };
    let bundle = step("packed: dirs to dsperse", mib, || {
        let options = to(Shape::Dsperse, true);
        convert(&slices, &options, Limits::default()).unwrap()
    });
    step("one slice changed and packed again", mib, || {
        let store = SliceStore::open(&bundle.path, Access::Edit).unwrap();
        store
            .update_slice(0, |m| m.backend = Some("demo".into()))
            .unwrap();
        store.commit().unwrap();
    });
    step("read: payload and circuit checked", mib, || {
        let store = SliceStore::open(&bundle.path, Access::Read).unwrap();
        store.payload(0).unwrap();
        store.circuit(0, "demo", &[Role::Proving]).unwrap();
    });
    step("unpacked: dsperse to dirs", mib, || {
        let options = to(Shape::Dirs, true);
        convert(&bundle.path, &options, Limits::default()).unwrap()
    });
    let peak = peak();
    println!(
        "peak memory {} MiB, limit {} MiB",
        peak / MIB,
        PEAK_LIMIT / MIB
    );
    if peak >= PEAK_LIMIT {
        std::process::exit(1);
    }
}
