#!/usr/bin/env python3
"""Whole models, from the file to the verdict: what `dsperse full-run` costs on this machine.

    .venv/bin/python benches/models.py PATH_TO_DSPERSE [--model NAME]… [--memory SIZE]…
        [--against OLDER_DSPERSE] [--growth] [--json FILE]

Makes each model of benches/zoo.py from its seed in a temporary directory and slices, compiles,
runs, proves and verifies it with the chain "sumcheck|onnx"; several --memory give a row each.
Where EZKL or JSTprove are installed (`dsperse plugin doctor` says so), LeNet-5 and nanoGPT get
rows of theirs. --against gives each model a row of an older build first, as that cuts by itself.
--growth measures single layers instead, in which the data or the weights grow,
and fits the exponent of CPU seconds and of memory to their number.

CPU seconds are user and system time of the command and all below it, those of the stages as the
run records them; memory is that of the largest compilation and of the largest proof, beside
what the backend had expected of it; bytes are those of all proofs. Layers with more than 16 million weights are split.

Needs the packages `numpy` and `onnx` (scripts/install-backends.sh reference).
"""

import argparse
import datetime
import json
import math
import os
import pathlib
import platform
import subprocess
import sys
import tempfile
import time

import zoo

MODELS = [
    "LeNet-5",
    "ResNet-18",
    "ResNet-50",
    "VGG-16",
    "MobileNetV2",
    "face detector",
    "BERT-base block",
    "nanoGPT",
    "GPT-2 block",
    "GPT-2 124M",
]
# What the other provers can do in minutes.
SMALL = ["LeNet-5", "nanoGPT"]
SPLIT = "16M"
GROWTH = {
    "conv": (lambda n: 2 * 64 * n * n, [14, 28, 56, 112]),
    "dense": (lambda n: n * n, [128, 256, 512, 1024, 2048]),
}


def cpu_name():
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        return next(l.split(":")[1].strip() for l in lines if l.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()


def installed(dsperse):
    """The provers beside the embedded one whose tools are there."""
    line = [dsperse, "plugin", "doctor", "--json"]
    done = subprocess.run(line, capture_output=True, text=True)
    backends = json.loads(done.stdout or "{}").get("backends", [])
    ready = {b["backend"] for b in backends if b.get("probe", {}).get("ready")}
    return [b for b in ("jstprove", "ezkl") if b in ready]


def full_run(dsperse, name, chain, memory, split=True):
    """One row: figures by name."""
    with tempfile.TemporaryDirectory(prefix="dsperse-bench-") as place:
        place = pathlib.Path(place)
        # A process of its own: what measures stays small.
        subprocess.run([sys.executable, zoo.__file__, name, place], check=True)
        line = [dsperse, "full-run", "-m", place, "-i", place / "input.npz", "-b", chain]
        line += ["--json", "--no-input", "-q"]
        line += ["--split-above", SPLIT] if split else []
        line += ["--memory", memory] if memory else []
        began = time.monotonic()
        with open(place / "out", "wb") as out, open(place / "err", "wb") as err:
            child = subprocess.Popen(line, stdout=out, stderr=err)
            _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        row = {
            "model": name,
            "chain": chain,
            "memory": memory,
            "exit": child.returncode,
            "wall": time.monotonic() - began,
            "cpu": used.ru_utime + used.ru_stime,
        }
        records = list((place / "run").glob("run_*/run_results.json"))
        if not records:
            row["error"] = (place / "err").read_text().strip().splitlines()[-1:]
            return row
        results = json.loads(records[0].read_text())
        stages = results["totals"]["stages"]
        slices = [
            json.loads(p.read_text()) for p in (place / "slices").glob("slice_*/metadata.json")
        ]
        made = [s["compilations"][s["backend"]] for s in slices]
        expected = [c.get("facts", {}).get("peak_bytes", {}).get("prove", 0) for c in made]
        report = json.loads((place / "out").read_text() or "{}") if child.returncode == 0 else {}
        seconds = lambda stage: stages.get(stage, {}).get("cpu_seconds", 0.0)
        return row | {
            "slices": len(slices),
            "proven": report.get("verification", {}).get("proven_by_macs"),
            "compile": sum(c["usage"].get("cpu_seconds", 0.0) for c in made),
            "witness": seconds("witness"),
            "prove": seconds("prove"),
            "verify": seconds("verify"),
            "compiling": max(c["usage"].get("peak_bytes", 0) for c in made),
            "peak": stages.get("prove", {}).get("peak_bytes", 0),
            "expected": max(expected, default=0),
            "bytes": results["totals"]["proof_bytes"],
            "fidelity": results["fidelity"].get("error"),
        }


def shown(row):
    what = f"{row['model']} | {row['chain'].split('|')[0]} | {row['memory'] or '-'}"
    if "slices" not in row:
        return f"| {what} | exit {row['exit']}: {row['error']} |"
    proven = "-" if row["proven"] is None else f"{100 * row['proven']:.0f} %"
    error = "-" if row["fidelity"] is None else f"{row['fidelity']:.4f}"
    return (
        f"| {what} | {row['slices']} | {proven} | {row['compile']:.1f} | {row['witness']:.1f} "
        f"| {row['prove']:.1f} | {row['verify']:.2f} | {row['cpu']:.1f} | {row['wall']:.1f} "
        f"| {row['compiling'] / 1e6:.0f} | {row['peak'] / 1e6:.0f} | {row['expected'] / 1e6:.0f} | {row['bytes'] / 1e3:.0f} | {error} |"
    )


def exponent(points):
    """Slope of a line through the logarithms."""
    xs, ys = zip(*((math.log(x), math.log(y)) for x, y in points))
    mx, my = sum(xs) / len(xs), sum(ys) / len(ys)
    pairs = list(zip(xs, ys))
    return sum((x - mx) * (y - my) for x, y in pairs) / sum((x - mx) ** 2 for x in xs)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dsperse", type=pathlib.Path)
    parser.add_argument("--model", action="append", choices=zoo.MODELS)
    parser.add_argument("--memory", action="append")
    parser.add_argument("--against", type=pathlib.Path)
    parser.add_argument("--growth", action="store_true")
    parser.add_argument("--json", type=pathlib.Path)
    args = parser.parse_args()
    dsperse = str(args.dsperse.resolve())
    version = subprocess.run([dsperse, "--version"], capture_output=True, text=True).stdout.strip()
    today = datetime.date.today().isoformat()
    print(f"{today}, {version}, {cpu_name()}, {os.cpu_count()} processors\n")
    head = "model | prover | memory | slices | proven | compile | run | prove | verify | CPU s | wall s"
    head += " | compile MB | prove MB | expected MB | proofs kB | error"
    print(f"| {head} |\n|{' --- |' * head.count('|')} --- |", flush=True)
    rows = []

    def run(name, chain="sumcheck|onnx", memory=None, older=None):
        row = full_run(older or dsperse, name, chain, memory, split=older is None)
        if older:
            row["model"] += " (older)"
        rows.append(row)
        print(shown(row), flush=True)
        return row

    if args.growth:
        for kind, (elements, sizes) in GROWTH.items():
            made = [(elements(n), run(f"{kind} {n}")) for n in sizes]
            made = [(n, row) for n, row in made if "slices" in row]
            cpu = exponent([(n, row["prove"]) for n, row in made])
            peak = exponent([(n, row["peak"]) for n, row in made])
            print(f"\n{kind}: CPU of the proof grows as n^{cpu:.2f}, memory as n^{peak:.2f}\n")
    else:
        others = installed(dsperse)
        for name in args.model or MODELS:
            if args.against:
                run(name, older=str(args.against.resolve()))
            for memory in args.memory or [None]:
                run(name, memory=memory)
            for other in others if name in SMALL else []:
                run(name, f"{other}|onnx")
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
