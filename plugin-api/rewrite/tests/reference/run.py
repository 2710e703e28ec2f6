"""The Python side of the tests against ONNX Runtime.

    run.py cases FOLDER           writes the onnx package's own node tests as files
    run.py check FOLDER JOBS      runs rewritten models and compares; one JSON line per job

A job is {"model", "data" (.npz with inputs and expected outputs) or "original" (a model that
gives the expected outputs for random inputs), "low", "high", "tolerance"}.
"""
import json
import os
import sys
import warnings

import numpy as np
import onnx
import onnxruntime as ort
from onnx import numpy_helper

warnings.filterwarnings("ignore")
ort.set_default_logger_severity(4)


def run(model, feeds):
    """Outputs by ONNX Runtime, or by ONNX's reference where that lacks a kernel."""
    try:
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        session = ort.InferenceSession(model.SerializeToString(), options)
        return session.run(None, feeds)
    except Exception as first:
        from onnx.reference import ReferenceEvaluator

        # Not everything that ONNX Runtime takes is known there, so its reason counts.
        try:
            return ReferenceEvaluator(model).run(None, feeds)
        except Exception:
            raise first


def cases(folder):
    from onnx.backend.test.case.node import collect_testcases

    count = 0
    for case in collect_testcases(None):
        model = case.model
        # The expanded ones are the standard's own function bodies: many nodes, nothing new.
        if "_expanded" in case.name or case.kind != "node" or not case.data_sets or model is None:
            continue
        inputs, outputs = case.data_sets[0]
        dense = (np.ndarray, np.generic)
        if not all(isinstance(v, dense) for v in list(inputs) + list(outputs)):
            continue
        if any(np.asarray(v).dtype.kind not in "fiub" for v in list(inputs) + list(outputs)):
            continue
        names = [i.name for i in model.graph.input]
        if len(names) != len(inputs):
            continue
        values = dict(zip(names, (np.asarray(v) for v in inputs)))
        # Shapes of all outputs are those of the test: some are open in the model.
        for info, value in zip(model.graph.output, outputs):
            kind = info.type.tensor_type.elem_type
            info.CopyFrom(onnx.helper.make_tensor_value_info(info.name, kind, np.asarray(value).shape))
        seen = set()
        for variant, fixed in [
            ("free", []),
            ("ints", [n for n in names[1:] if values[n].dtype.kind in "iub"]),
            ("all", names[1:]),
            # What needs all of its inputs is a constant then.
            ("whole", names if case.model.graph.node[0].op_type in ("ConstantOfShape", "Range") else []),
        ]:
            if tuple(fixed) in seen:
                continue
            seen.add(tuple(fixed))
            bound = onnx.ModelProto()
            bound.CopyFrom(model)
            kept = [i for i in bound.graph.input if i.name not in fixed]
            del bound.graph.input[:]
            bound.graph.input.extend(kept)
            for name in fixed:
                bound.graph.initializer.append(numpy_helper.from_array(values[name], name))
            base = os.path.join(folder, f"{case.name}.{variant}")
            onnx.save(bound, base + ".onnx")
            data = {f"in:{n}": v for n, v in values.items() if n not in fixed}
            data |= {f"out:{o.name}": np.asarray(v) for o, v in zip(model.graph.output, outputs)}
            np.savez(base + ".npz", **data)
            count += 1
    print(count)


def random_feeds(model, low, high, seed):
    rng = np.random.default_rng(seed)
    filled = {t.name for t in model.graph.initializer}
    feeds = {}
    for info in model.graph.input:
        if info.name in filled:
            continue
        tensor = info.type.tensor_type
        shape = [d.dim_value for d in tensor.shape.dim]
        kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        if kind == np.bool_:
            value = rng.integers(0, 2, shape) > 0
        elif np.issubdtype(kind, np.integer):
            value = rng.integers(int(np.floor(low)), int(np.ceil(high)) + 1, shape).astype(kind)
        else:
            value = rng.uniform(low, high, shape).astype(kind)
        feeds[info.name] = np.asarray(value)
    return feeds


def difference(expected, got):
    """Largest error relative to the largest finite magnitude (at least 1)."""
    expected, got = np.asarray(expected), np.asarray(got)
    if expected.shape != got.shape:
        return f"shape {got.shape}, expected {expected.shape}"
    if expected.dtype != got.dtype:
        return f"type {got.dtype}, expected {expected.dtype}"
    e, g = expected.astype(np.float64).ravel(), got.astype(np.float64).ravel()
    same = (e == g) | (np.isnan(e) & np.isnan(g))
    finite = np.isfinite(e)
    if not np.all(same | (finite & np.isfinite(g))):
        return "another infinity or no number"
    if not e.size:
        return 0.0
    scale = max(1.0, float(np.max(np.abs(e[finite]), initial=0.0)))
    return float(np.max(np.where(same, 0.0, np.abs(e - g)) / scale))


def check(jobs):
    for job in jobs:
        result = {"name": job["name"]}
        try:
            model = onnx.load(job["model"])
            if "data" in job:
                onnx.checker.check_model(model)
                data = dict(np.load(job["data"]))
                feeds = {k[3:]: v for k, v in data.items() if k.startswith("in:")}
                expected = [data[f"out:{o.name}"] for o in model.graph.output]
            else:
                original = onnx.load(job["original"])
                feeds = random_feeds(original, job["low"], job["high"], len(job["name"]))
                expected = run(original, feeds)
            got = run(model, feeds)
            errors = [difference(e, g) for e, g in zip(expected, got)]
            texts = [e for e in errors if isinstance(e, str)]
            if texts:
                result["failed"] = texts[0]
            else:
                result["error"] = max(errors)
        except Exception as e:
            result["failed"] = f"{type(e).__name__}: {e}"[:400]
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "cases":
        cases(sys.argv[2])
    else:
        with open(sys.argv[2]) as f:
            check(json.load(f))
