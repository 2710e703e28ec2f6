#!/usr/bin/env python3
"""What `dsperse verify` costs beyond the backends' own checking.

    benches/verify_cost.py PATH_TO_DSPERSE [MODEL_DIR] [--backend SPEC] [--repeat N]

Runs a sample once (default models/lenet, backend sumcheck) in a temporary directory, then
verifies it N times. CPU seconds are those of the process and all its children, as the
operating system counts them; the backends' own are those that the report states per slice.
"Start" is a command that only finds the plugins. With a verifier's bundle there are no ONNX files,
so nothing is computed in floats: what that costs is the difference.
"""

import argparse
import json
import pathlib
import resource
import shutil
import subprocess
import tempfile

HERE = pathlib.Path(__file__).resolve().parent


def cpu():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(command, repeat, cwd):
    """Mean CPU seconds of a command, and the mean of what its report says of backends."""
    total = own = 0.0
    for _ in range(repeat):
        before = cpu()
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=True)
        total += cpu() - before
        if "--json" in command:
            own += sum(s["usage"]["cpu_seconds"] for s in json.loads(done.stdout)["slices"])
    return total / repeat, own / repeat


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dsperse", type=pathlib.Path)
    parser.add_argument("model", type=pathlib.Path, nargs="?", default=HERE.parent / "models/lenet")
    parser.add_argument("--backend", default="sumcheck")
    parser.add_argument("--repeat", type=int, default=20)
    args = parser.parse_args()
    dsperse = str(args.dsperse.resolve())
    with tempfile.TemporaryDirectory() as place:
        model = pathlib.Path(place, "model")
        model.mkdir()
        for name in ("model.onnx", "input.json"):
            shutil.copy(args.model / name, model)
        subprocess.run(
            [dsperse, "full-run", "-q", "-m", "model", "-b", args.backend, "--strategy", "layer"],
            cwd=place, check=True, stdout=subprocess.DEVNULL,
        )
        run = next(p for p in (model / "run").iterdir() if p.name.startswith("run_"))
        slices = model / "slices"
        bundle = model / "bundle"
        subprocess.run(
            [dsperse, "convert", "-q", "-i", str(slices), "--for", "verify", "-o", str(bundle)],
            cwd=place, check=True, stdout=subprocess.DEVNULL,
        )
        verify = lambda data: [dsperse, "verify", str(run), str(data), "-q", "--json", "--no-input"]
        total, own = measure(verify(bundle), args.repeat, place)
        floats, floats_own = measure(verify(slices), args.repeat, place)
        start, _ = measure([dsperse, "plugin", "list"], args.repeat, place)

    def ms(seconds):
        return f"{seconds * 1e3:8.1f} ms"

    print(f"{args.model.name}, {args.backend}, mean of {args.repeat}")
    print(f"  verify a bundle, CPU     {ms(total)}")
    print(f"  backends' own            {ms(own)}")
    print(f"  beyond                   {ms(total - own)}  ({(total - own) / own:.0%} of the backends' own)")
    print(f"    start, finding plugins {ms(start)}")
    print(f"    the rest               {ms(total - own - start)}")
    print(f"  the float model, where the ONNX files are {ms(floats - floats_own - (total - own))}")


if __name__ == "__main__":
    main()
