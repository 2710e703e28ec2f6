#!/usr/bin/env python3
"""What a version costs beside an earlier one: CPU seconds of each stage, both binaries in turn.

    benches/ratio.py OLD_BINARY NEW_BINARY MODEL_DIR... [--repeat N]

Each MODEL_DIR holds model.onnx and input.json. Slices are cut by --strategy layer, which gives
both the same ones, and the chain is "sumcheck|onnx". CPU is user and system time of a command
and of every process below it; the table shows medians, and the median of the ratios of
neighbouring runs with the smallest and the largest. Standard library only.
"""

import argparse
import pathlib
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile

STAGES = {
    "compile": ["compile", "-p", "{d}", "-i", "{d}/input.json", "-b", "sumcheck|onnx"],
    "run": ["run", "-p", "{d}", "-i", "{d}/input.json"],
    "prove": ["prove", "--run-dir", "{d}/run"],
    "verify": ["verify", "--run-dir", "{d}/run"],
}


def cpu(line):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(line, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        sys.exit(f"{' '.join(line)}\n{done.stderr}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def once(binary, model):
    with tempfile.TemporaryDirectory() as tmp:
        d = pathlib.Path(tmp) / "m"
        d.mkdir()
        for name in ("model.onnx", "input.json"):
            shutil.copy(model / name, d / name)
        cpu([binary, "slice", "-m", str(d), "--strategy", "layer", "--no-input"])
        fill = lambda words: [w.replace("{d}", str(d)) for w in words]
        return {stage: cpu([binary, *fill(words), "--no-input"]) for stage, words in STAGES.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old")
    parser.add_argument("new")
    parser.add_argument("models", nargs="+", type=pathlib.Path)
    parser.add_argument("--repeat", type=int, default=5)
    args = parser.parse_args()
    binaries = [str(pathlib.Path(b).resolve()) for b in (args.old, args.new)]
    print("| model | stage | old CPU s | new CPU s | ratio |\n| --- | --- | ---: | ---: | --- |")
    for model in args.models:
        pairs = [[once(b, model) for b in binaries] for _ in range(args.repeat)]
        for stage in STAGES:
            old, new = ([p[i][stage] for p in pairs] for i in (0, 1))
            ratios = [n / o for o, n in zip(old, new)]
            print(
                f"| {model.name} | {stage} | {statistics.median(old):.2f} | {statistics.median(new):.2f} "
                f"| {statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f}) |",
                flush=True,
            )


if __name__ == "__main__":
    main()
