#!/usr/bin/env python3
"""Where to cut: `dsperse full-run` with each strategy, and its fidelity held against ONNX Runtime.

    .venv/bin/python benches/strategies.py PATH_TO_DSPERSE MODEL… [--strategy NAME]… [--memory SIZE]
        [--dim NAME=N]… [--json FILE]

Each MODEL is an .onnx file or a directory with model.onnx and, if it has one, input.json. Other
inputs are made from a seed: floats evenly between 0 and 1, integers between 0 and 9. Every run
happens in a copy in a temporary directory with the chain "sumcheck|onnx". A row of the table:

- slices, and the share of multiply-accumulates that was proven;
- bytes of all proofs, and the largest peak of a job;
- wall seconds of the whole command, and CPU seconds of all proofs;
- the error that the run states, and the one computed here: ONNX Runtime's output of the original
  model against the values that the run gives out, by the definition in docs/fidelity.md.

Exits with 1 when a stated error and the recomputed one differ by more than a tenth and 1e-5.
Needs the packages `numpy`, `onnx` and `onnxruntime` (scripts/install-backends.sh reference).
"""

import argparse
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnx
import onnxruntime

SEED = 1
STRATEGIES = ["auto", "layer", "capability"]
LEAST_VARIATION = 64


def inputs_of(path, sizes):
    """Seeded inputs for a model: name → array."""
    rng = np.random.default_rng(SEED)
    model = onnx.load(path, load_external_data=False)
    known = {i.name for i in model.graph.initializer}
    out = {}
    for value in model.graph.input:
        if value.name in known:
            continue
        kind = value.type.tensor_type
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
        shape = [d.dim_value or sizes.get(d.dim_param, 1) for d in kind.shape.dim]
        if np.issubdtype(dtype, np.floating):
            out[value.name] = rng.random(shape).astype(dtype)
        else:
            out[value.name] = rng.integers(0, 10, shape).astype(dtype)
    return out


def session(path):
    """ONNX Runtime on a file. Old exporters compare floats under operator set 10, where the
    standard and ONNX Runtime have that from 11 on: such a file is read as one of 11."""
    providers = ["CPUExecutionProvider"]
    try:
        return onnxruntime.InferenceSession(path, providers=providers)
    except Exception:
        model = onnx.load(path)
        for imported in model.opset_import:
            if imported.domain != "" or imported.version != 10:
                raise
            imported.version = 11
        return onnxruntime.InferenceSession(model.SerializeToString(), providers=providers)


def given_input(path, model):
    """The inputs in an input.json with "input_data"."""
    data = json.loads(path.read_text())["input_data"]
    specs = session(model).get_inputs()
    items = [data] if len(specs) == 1 else data
    shape = lambda s: [d if isinstance(d, int) else 1 for d in s.shape]
    return {s.name: np.array(i, np.float32).reshape(shape(s)) for s, i in zip(specs, items)}


def error(expected, found):
    """The largest difference over the lesser of magnitude and range (docs/fidelity.md)."""
    expected, found = expected.astype(np.float64).ravel(), found.astype(np.float64).ravel()
    difference = np.abs(expected - found).max(initial=0.0)
    if difference == 0:
        return 0.0
    magnitude = np.abs(expected).max()
    scale = magnitude
    if expected.size > 1:
        scale = min(max(expected.max() - expected.min(), magnitude / LEAST_VARIATION), magnitude)
    return float(difference / scale) if scale > 0 else float("inf")


def recomputed(model, inputs, output):
    runtime = session(model)
    names = [o.name for o in runtime.get_outputs()]
    reference = runtime.run(names, inputs)
    typed = json.loads(output.read_text())["outputs"]
    worst = 0.0
    for name, expected in zip(names, reference):
        # Fixed point stands there as integers with a power of two.
        found = np.array(typed[name]["data"], np.float64) * 2.0 ** typed[name].get("exponent", 0)
        worst = max(worst, error(expected, found))
    return worst


def measure(binary, model, inputs, strategy, args):
    with tempfile.TemporaryDirectory() as tmp:
        tmp = pathlib.Path(tmp)
        shutil.copy(model, tmp / "model.onnx")
        np.savez(tmp / "input.npz", **inputs)
        line = [binary, "full-run", "-m", tmp, "-i", tmp / "input.npz", "-b", "sumcheck|onnx"]
        line += ["--strategy", strategy, "-o", tmp / "out.json", "--json", "--no-input", "-q"]
        line += ["--memory", args.memory] if args.memory else []
        line += [x for d in args.dim for x in ("--dim", d)]
        began = time.monotonic()
        done = subprocess.run(line, capture_output=True, text=True)
        seconds = time.monotonic() - began
        if not (tmp / "out.json").exists():
            return {"failed": done.stderr.strip().splitlines()[-1:] or [f"exit {done.returncode}"]}
        # A run that misses its target ends before it is proven.
        results = json.loads(next((tmp / "run").glob("run_*/run_results.json")).read_text())
        document = json.loads(done.stdout) if done.returncode == 0 else {}
        stages = results["totals"]["stages"].values()
        return {
            "exit": done.returncode,
            "slices": len(results["slices"]),
            "proven": document.get("verification", {}).get("proven_by_macs"),
            "bytes": results["totals"]["proof_bytes"],
            "peak": max((s["peak_bytes"] for s in stages), default=0),
            "seconds": seconds,
            "prove_cpu": results["totals"]["stages"].get("prove", {}).get("cpu_seconds", 0.0),
            "stated": results["fidelity"].get("error"),
            "recomputed": recomputed(model, inputs, tmp / "out.json"),
        }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary")
    parser.add_argument("models", nargs="+", type=pathlib.Path)
    parser.add_argument("--strategy", action="append")
    parser.add_argument("--memory")
    parser.add_argument("--dim", action="append", default=[])
    parser.add_argument("--json", type=pathlib.Path)
    args = parser.parse_args()
    binary = str(pathlib.Path(args.binary).resolve())
    sizes = {k: int(v) for k, v in (d.split("=") for d in args.dim)}
    columns = "model | strategy | slices | proven | proofs | peak | time | prove CPU | error | recomputed"
    print(f"| {columns} |\n|{' --- |' * 10}", flush=True)
    rows, apart = [], False
    for path in args.models:
        model = path / "model.onnx" if path.is_dir() else path
        given = path / "input.json"
        inputs = given_input(given, str(model)) if given.is_file() else inputs_of(str(model), sizes)
        for strategy in args.strategy or STRATEGIES:
            name = path.name if path.is_dir() else path.stem
            row = {"model": name, "strategy": strategy}
            row |= measure(binary, str(model), inputs, strategy, args)
            rows.append(row)
            if "failed" in row:
                print(f"| {name} | {strategy} | failed: {row['failed']} |", flush=True)
                continue
            stated, again = row["stated"], row["recomputed"]
            apart |= stated is None or abs(stated - again) > 0.1 * max(stated, again) + 1e-5
            proven = "-" if row["proven"] is None else f"{100 * row['proven']:.0f} %"
            number = lambda x: "-" if x is None else f"{x:.1e}"
            print(
                f"| {name} | {strategy} | {row['slices']} | {proven} | {row['bytes'] / 1000:.0f} kB "
                f"| {row['peak'] / 1e6:.0f} MB | {row['seconds']:.1f} s | {row['prove_cpu']:.1f} s "
                f"| {number(stated)} | {number(again)} |",
                flush=True,
            )
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))
    if apart:
        sys.exit("a stated error is not the one that ONNX Runtime shows")


if __name__ == "__main__":
    main()
