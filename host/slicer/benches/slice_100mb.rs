//! Slices a model of 100 MB and prints time and peak memory.
//!
//! `cargo bench -p dsperse-slicer` (or, without building everything for release,
//! `cargo bench -p dsperse-slicer --profile dev`). The model is made by a child process, so
//! that the peak is that of slicing alone.

use dsperse_onnx::{DataType, Dim, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto};
use dsperse_slicer::{DimOptions, Strategy, load, prepare};
use std::path::Path;
use std::time::Instant;

/// 50 layers of 724 × 724 weights: 104 MB.
const LAYERS: usize = 50;
const WIDTH: usize = 724;

fn make(path: &Path) {
    let mut graph = GraphProto::default();
    let mut last = "x".to_owned();
    for i in 0..LAYERS {
        let (w, a, b) = (format!("w{i}"), format!("a{i}"), format!("b{i}"));
        let raw: Vec<u8> = (0..WIDTH * WIDTH)
            .flat_map(|k| ((k + i) as f32 * 0.37).sin().to_le_bytes())
            .collect();
        graph.initializer.push(TensorProto {
            name: Some(w.clone()),
            dims: vec![WIDTH as i64; 2],
            data_type: Some(DataType::F32.number()),
            raw_data: Some(raw.into()),
            ..TensorProto::default()
        });
        graph
            .node
            .push(NodeProto::new("MatMul", &[&last, &w], &[&a]));
        graph.node.push(NodeProto::new("Relu", &[&a], &[&b]));
        last = b;
    }
    let dims = [Dim::Named("batch".into()), Dim::Known(WIDTH as u64)];
    graph.input = vec![ValueInfoProto::tensor("x", DataType::F32, &dims)];
    graph.output = vec![ValueInfoProto::tensor(&last, DataType::F32, &dims)];
    std::fs::write(path, ModelProto::from_graph(graph, 17).to_bytes()).expect("write the model");
}

/// Peak resident memory of this process in MiB, where the system tells it.
fn peak_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with("VmHWM"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? / 1024)
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if let [_, flag, path] = args.as_slice()
        && flag == "--make"
    {
        return make(Path::new(path));
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("model.onnx");
    let made = std::process::Command::new(std::env::current_exe().expect("this program"))
        .arg("--make")
        .arg(&path)
        .status()
        .expect("make the model");
    assert!(made.success());

    let bytes = std::fs::metadata(&path).expect("the model").len();
    let start = Instant::now();
    let loaded = load(&path).expect("load");
    let load_time = start.elapsed();
    let prepared = prepare(loaded, &DimOptions::default()).expect("prepare");
    let prepare_time = start.elapsed() - load_time;
    let plan = prepared.plan(&Strategy::Layer).expect("plan");
    let mut written = 0;
    for slice in prepared.slices(&plan) {
        let slice = slice.expect("slice");
        let bytes = slice.to_bytes();
        let summary = slice.summary(&bytes);
        written += summary.payload_size;
        std::fs::write(
            folder.path().join(format!("slice_{}.onnx", slice.index)),
            &bytes,
        )
        .expect("write a slice");
    }
    let total = start.elapsed();
    println!(
        "{} MB in {} slices ({} MB): {:.2} s (load and digest {:.2} s, prepare {:.2} s, cut, digest and write {:.2} s), peak memory {} MiB",
        bytes / 1_000_000,
        plan.slices.len(),
        written / 1_000_000,
        total.as_secs_f64(),
        load_time.as_secs_f64(),
        prepare_time.as_secs_f64(),
        (total - load_time - prepare_time).as_secs_f64(),
        peak_mib().map_or("unknown".into(), |m| m.to_string()),
    );
}
