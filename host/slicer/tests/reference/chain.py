"""Runs chains of slices in ONNX Runtime and compares them with the whole model.

Called by tests/corpus.rs with the path of a JSON list of jobs on the command line:
{"model": path, "slices": [path], "inputs": [{"name", "dtype", "shape"}], "outputs": [name]}.
Prints one JSON line for each job: {"model", "error": relative error, "half": whether an output
is in half precision} or {"model", "failed": text}. Each slice must pass the ONNX checker with full shape inference.
"""

import json
import sys

import numpy as np
import onnx
import onnxruntime as ort

DTYPES = {
    "f32": np.float32, "f64": np.float64, "f16": np.float16, "i8": np.int8, "i16": np.int16,
    "i32": np.int32, "i64": np.int64, "u8": np.uint8, "u16": np.uint16, "u32": np.uint32,
    "u64": np.uint64, "bool": np.bool_,
}


def session(path):
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 2
    data = open(path, "rb").read() if isinstance(path, str) else path
    if b"QuantizeLinear" in data:
        # As the nodes stand: fused 8-bit products overflow in 16 bits on some processors.
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def sample(info, rng):
    dtype = DTYPES[info["dtype"]]
    if np.issubdtype(dtype, np.floating):
        return rng.standard_normal(info["shape"]).astype(dtype)
    # Small numbers are valid as token numbers, masks and pixels alike.
    return rng.integers(0, 2, info["shape"]).astype(dtype)


def with_outputs(path, names):
    """The model with these tensors among its outputs: a map's matrix takes the map's place."""
    model = onnx.load(path, load_external_data=False)
    missing = [n for n in names if n not in [o.name for o in model.graph.output]]
    if not missing:
        return path
    model.graph.output.extend(onnx.ValueInfoProto(name=n) for n in missing)
    return model.SerializeToString()


def run(job):
    rng = np.random.default_rng(1)
    tensors = {i["name"]: sample(i, rng) for i in job["inputs"]}
    whole = session(with_outputs(job["model"], job["outputs"]))
    expected = whole.run(job["outputs"], tensors)
    for path in job["slices"]:
        onnx.checker.check_model(path, full_check=True)
        part = session(path)
        feed = {i.name: tensors[i.name] for i in part.get_inputs()}
        names = [o.name for o in part.get_outputs()]
        for info, name, value in zip(part.get_outputs(), names, part.run(names, feed)):
            if list(info.shape) != list(value.shape):
                raise ValueError(f"{path}: {name} has shape {value.shape}, promised {info.shape}")
            tensors[name] = value
    worst, half = 0.0, False
    for name, want in zip(job["outputs"], expected):
        got = tensors[name]
        if got.shape != want.shape or got.dtype != want.dtype:
            raise ValueError(f"{name}: {got.dtype}{got.shape}, expected {want.dtype}{want.shape}")
        half |= want.dtype == np.float16
        got, want = got.astype(np.float64), want.astype(np.float64)
        if not np.array_equal(np.isnan(got), np.isnan(want)):
            raise ValueError(f"{name}: not-a-number in different places")
        scale = max(np.nanmax(np.abs(want), initial=0.0), 1e-6)
        worst = max(worst, float(np.nanmax(np.abs(got - want), initial=0.0) / scale))
    return {"error": worst, "half": half}


for job in json.load(open(sys.argv[1])):
    try:
        print(json.dumps({"model": job["model"], **run(job)}), flush=True)
    except Exception as e:  # the test reports every model, not only the first
        print(json.dumps({"model": job["model"], "failed": f"{type(e).__name__}: {e}"}), flush=True)
