#!/usr/bin/env python3
"""What a chain of slices costs over the whole model: `dsperse run` against tract.

    .venv/bin/python benches/chained_run.py PATH_TO_DSPERSE [--model NAME]… [--repeat N]

Makes models from a seed in a temporary directory, slices each at every layer and once as a
whole, and computes the same inference

- chained: `dsperse run` over the slices,
- whole:   `dsperse run` over the one slice,
- tract:   one call of the onnx backend on the whole model, without dsperse around it,

in turns, with the executor backend only. CPU seconds (user and system) are those of the
process and all its descendants, as the operating system counts them; the peak is that of the
largest single process. Everything that the command does is counted: starting, finding
plugins, digests of slices and tensors, worker processes, preparing the models in tract, the
inference itself, files for every slice, fidelity. Figures are medians; the ratio is the
median of the ratios of neighbouring runs, which shared machines disturb least.

Needs the packages `numpy` and `onnx` (scripts/install-backends.sh reference).
"""

import argparse
import ctypes
import json
import os
import pathlib
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from external_tools import Buffer, Bytes, Backend, digest

MODELS = {
    "resnet": "residual CNN like ResNet-50, 224 × 224",
    "mlp": "50 dense layers of 1024 × 1024, batch of 256",
    "small": "50 dense layers of 64 × 64",
}


def dense(zoo, width, batch, layers=50):
    net = zoo.Net()
    x = net.images(batch, width)
    for i in range(layers):
        x = net.dense(x, (width, width))
        if i + 1 < layers:
            x = net.relu(x)
    return net, x


def make(name, directory):
    """A child process: what measures memory must stay small itself."""
    import onnx
    import zoo

    directory = pathlib.Path(directory)
    net, output = {
        "resnet": lambda: zoo.resnet((5, 6, 8, 5), 1),
        "mlp": lambda: dense(zoo, 1024, 256),
        "small": lambda: dense(zoo, 64, 1),
    }[name]()
    net.save(output, directory)
    net.given["input"].tofile(directory / "input.bin")
    graph = onnx.load(directory / "model.onnx").graph
    shape = lambda value: [d.dim_value for d in value.type.tensor_type.shape.dim]
    info = lambda value: {"name": value.name, "dtype": "f32", "shape": shape(value)}
    ports = {"inputs": [info(graph.input[0])], "outputs": [info(graph.output[0])]}
    (directory / "ports.json").write_text(json.dumps(ports))


def tract(library, directory):
    """A child process: one call of the onnx backend, and what it cost."""
    directory = pathlib.Path(directory)
    ports = json.loads((directory / "ports.json").read_text())
    out = directory / "tract"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    sha256 = digest(directory / "model.onnx")
    model = {
        "index": 0,
        "model": str(directory / "model.onnx"),
        "sha256": sha256,
        "model_sha256": sha256,
        **ports,
    }
    path = directory / "input.bin"
    inputs = [{**ports["inputs"][0], "path": str(path), "sha256": digest(path)}]
    job = {"slice": model, "circuit": [], "inputs": inputs, "options": {}}
    request = json.dumps({"job": job, "dir": str(out), "threads": 1}).encode()
    own = lambda: resource.getrusage(resource.RUSAGE_SELF)
    before, start = own(), time.monotonic()
    door = ctypes.CDLL(library).dsperse_backend_v1
    door.restype = ctypes.POINTER(Backend)
    reply = Buffer()
    status = door().contents.call(
        Bytes(b"witness", 7), Bytes(request, len(request)), None, ctypes.byref(reply)
    )
    after, end = own(), time.monotonic()
    if status:
        raise SystemExit(ctypes.string_at(reply.data, reply.len).decode())
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps([cpu, end - start, after.ru_maxrss / 1024]))


def measured(command, **options):
    """Runs a command: CPU seconds with all descendants, wall seconds, MiB of the largest."""
    start = time.monotonic()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, **options)
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{command} ended with {child.returncode}")
    return used.ru_utime + used.ru_stime, time.monotonic() - start, used.ru_maxrss / 1024


def bench(dsperse, name, repeat, place):
    subprocess.run([sys.executable, __file__, "--make", name, str(place)], check=True)
    environment = {**os.environ, "XDG_CACHE_HOME": str(place / "cache")}
    options = {"cwd": place, "env": environment}
    counts = {}
    for kind, strategy in [("chained", "layer"), ("whole", "whole")]:
        command = [dsperse, "slice", "-q", "--json", "-m", "model.onnx", "-o", kind]
        command += ["--strategy", strategy, "--output-type", "dirs"]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, **options)
        model = json.loads(done.stdout)["model"]
        counts[kind] = len(model["slices"])
        facts = f"{model['parameters'] / 1e6:.1f} M parameters, {model['macs'] / 1e9:.2f} GMAC"

    def run(kind):
        runs = place / f"run-{kind}"
        command = [dsperse, "run", "-q", "--no-input", "-s", kind, "-i", "input.npz"]
        cost = measured([*command, "-b", "onnx", "--run-dir", str(runs)], **options)
        shutil.rmtree(runs)
        return cost

    library = next(pathlib.Path(dsperse).parent.glob("*dsperse_backend_onnx.*o*"))

    def alone(_):
        command = [sys.executable, __file__, "--tract", str(library), str(place)]
        return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)

    ways = {"chained": run, "whole": run, "tract": alone}
    figures = {way: [] for way in ways}
    for turn in range(repeat + 1):
        for way, work in ways.items():
            cost = work(way)
            # The first turn fills the caches of dsperse and of the disk.
            if turn > 0:
                figures[way].append(cost)
    print(f"\n{name}: {MODELS[name]}; {facts}, {counts['chained']} slices\n")
    print("| | CPU s | wall s | peak MiB |")
    print("| --- | ---: | ---: | ---: |")
    for way, costs in figures.items():
        cpu, wall, peak = (statistics.median(c) for c in zip(*costs))
        print(f"| {way} | {cpu:.3f} | {wall:.3f} | {peak:.0f} |")
    for other in ("whole", "tract"):
        pairs = zip(figures["chained"], figures[other])
        ratios = sorted(a[0] / b[0] for a, b in pairs)
        print(
            f"chained / {other}: {statistics.median(ratios):.2f} in CPU "
            f"(from {ratios[0]:.2f} to {ratios[-1]:.2f})",
            flush=True,
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dsperse", type=pathlib.Path)
    parser.add_argument("--model", action="append", choices=MODELS, help="default: all")
    parser.add_argument("--repeat", type=int, default=7)
    args = parser.parse_args()
    dsperse = str(args.dsperse.resolve())
    print(f"{platform.machine()}, {os.cpu_count()} processors, median of {args.repeat}")
    for name in args.model or MODELS:
        with tempfile.TemporaryDirectory(prefix="dsperse-bench-") as place:
            bench(dsperse, name, args.repeat, pathlib.Path(place))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--make"]:
        make(*sys.argv[2:])
    elif sys.argv[1:2] == ["--tract"]:
        tract(*sys.argv[2:])
    else:
        main()
