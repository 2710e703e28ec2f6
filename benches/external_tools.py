"""Costs of the external tools' backends: CPU seconds, peak memory and sizes of each stage.

    .venv/bin/python benches/external_tools.py PLUGINS [--model lenet] [--only NAME]…
        [--jst COMMAND] [--srs-dir DIR]

PLUGINS is the directory with release builds of the plugins. The script loads them through
the C door of the plugin ABI, each stage in a process of its own, whose CPU time and peak
memory (with those of the tools that it starts) the system reports. What that process costs
when it only loads the library is measured too, and taken off. For JSTprove it also runs the
programs alone, on the same documents, and the `jst` command where one is given. The whole
model is one slice. Stages that take less than five CPU seconds are repeated, and the median
counts.

Needs the reference packages (scripts/install-backends.sh reference), and the tools that are
to be measured. EZKL is measured with a test SRS, which is made in --srs-dir at the first run.
"""

import argparse
import ctypes
import hashlib
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
THREADS = 2
# Stages below so many CPU seconds are measured so many times.
SHORT, REPEATS = 5, 7
# An operation that no plugin has.
NOTHING = "nothing"


class Bytes(ctypes.Structure):
    _fields_ = [("data", ctypes.c_char_p), ("len", ctypes.c_size_t)]


class Buffer(ctypes.Structure):
    pass


RELEASE = ctypes.CFUNCTYPE(None, ctypes.POINTER(Buffer))
Buffer._fields_ = [
    ("data", ctypes.POINTER(ctypes.c_uint8)),
    ("len", ctypes.c_size_t),
    ("owner", ctypes.c_size_t),
    ("release", RELEASE),
]
DESCRIBE = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.POINTER(Buffer))
CALL = ctypes.CFUNCTYPE(
    ctypes.c_int32, Bytes, Bytes, ctypes.c_void_p, ctypes.POINTER(Buffer)
)


class Backend(ctypes.Structure):
    _fields_ = [
        ("struct_size", ctypes.c_size_t),
        ("abi_major", ctypes.c_uint32),
        ("abi_minor", ctypes.c_uint32),
        ("describe", DESCRIBE),
        ("call", CALL),
    ]


def stage(library, op, request, reply):
    """The child process: one call of one plugin."""
    door = ctypes.CDLL(library).dsperse_backend_v1
    door.restype = ctypes.POINTER(Backend)
    op, request = op.encode(), Path(request).read_bytes()
    out = Buffer()
    status = door().contents.call(
        Bytes(op, len(op)), Bytes(request, len(request)), None, ctypes.byref(out)
    )
    Path(reply).write_bytes(ctypes.string_at(out.data, out.len))
    os._exit(0 if status == 0 or op == NOTHING.encode() else 1)


def measured(command, before=lambda: None, **options):
    """Runs a command; CPU seconds and peak MB of it and its children."""
    runs = []
    while len(runs) < REPEATS and all(cpu < SHORT for cpu, _ in runs):
        before()
        runs.append(measured_once(command, **options))
    return tuple(map(statistics.median, zip(*runs)))


def measured_once(command, **options):
    with tempfile.TemporaryFile() as log:
        child = subprocess.Popen(command, stdout=log, stderr=log, **options)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        log.seek(0)
        text = log.read().decode(errors="replace")
    if child.returncode:
        raise SystemExit(f"{command} ended with {child.returncode}:\n{text[-2000:]}")
    # The peak is the largest of one process, which is what the tools' own figures are.
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def files(paths):
    return sum(Path(p).stat().st_size for p in paths)


def digest(path):
    """In pieces: this process's own memory counts to the peak of its children."""
    found = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            found.update(piece)
    return found.hexdigest()


class Plugin:
    """All stages of one backend on one slice."""

    def __init__(self, library, options, work, prepared):
        self.library, self.options, self.work = library, options, work
        work.mkdir()
        self.slice = prepared["slice"]
        self.calibration = [([prepared["input"]], [prepared["expected"]])]

    def call(self, op, job):
        directory = self.work / op
        job = {"slice": self.slice, "options": self.options, **job}
        request, reply = self.work / f"{op}.json", self.work / f"{op}_reply.json"
        document = {"job": job, "dir": str(directory), "threads": THREADS}
        request.write_text(json.dumps(document))
        command = [sys.executable, __file__, "--stage"]
        command += [str(self.library), op, str(request), str(reply)]

        def empty_directory():
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir()

        try:
            cpu, peak = measured(command, before=empty_directory)
        except SystemExit:
            raise SystemExit(f"{op} of {self.library}: {reply.read_text()}") from None
        if op == NOTHING:
            return cpu
        cpu -= self.start
        done = json.loads(reply.read_text())
        refs = [
            {
                "name": a["name"],
                "role": a["role"],
                "path": str(directory / a["path"]),
                "sha256": digest(directory / a["path"]),
            }
            for a in done.get("artefacts", [])
        ]
        outputs = [
            {**o, "path": str(directory / o["path"])} for o in done.get("outputs", [])
        ]
        return cpu, peak, refs, outputs, done

    def run(self):
        """Figures: (stage, CPU seconds, peak MB, bytes kept on disk)."""
        self.start = self.call(NOTHING, {})
        inputs = self.calibration[0][0]
        job = {
            "calibration": [c[0] for c in self.calibration],
            "calibration_outputs": [c[1] for c in self.calibration],
        }
        cpu, peak, circuit, _, _ = self.call("compile", job)
        rows = [("compile", cpu, peak, files(a["path"] for a in circuit))]
        job = {"circuit": circuit, "inputs": inputs}
        cpu, peak, witness, outputs, _ = self.call("witness", job)
        rows.append(("witness", cpu, peak, files(a["path"] for a in witness)))
        job = {**job, "witness": witness, "outputs": outputs}
        cpu, peak, proof, _, _ = self.call("prove", job)
        rows.append(("prove", cpu, peak, files(a["path"] for a in proof)))
        public = [a for a in circuit if a["role"] in ("verifying", "public")]
        self.slice = {k: v for k, v in self.slice.items() if k != "model"}
        job = {"circuit": public, "inputs": inputs, "outputs": outputs, "proof": proof}
        cpu, peak, _, _, verdict = self.call("verify", {**job, "tolerance": 0.0})
        if verdict["verdict"] != "valid":
            raise SystemExit(f"{self.library}: {verdict}")
        rows.append(("verify", cpu, peak, files(a["path"] for a in public)))
        return rows


ENVIRONMENT = {
    **os.environ,
    "OMPI_MCA_ess_singleton_isolated": "1",
    "OMPI_MCA_btl": "self",
    "OMPI_MCA_pml": "ob1",
    "RAYON_NUM_THREADS": str(THREADS),
}


def programs_alone(programs, documents, work):
    """JSTprove's programs on the documents that `jst` made of the same model."""
    builder, prover = programs / "onnx_generic_circuit_2-1-0", programs / "expander-exec"
    work.mkdir()
    at = lambda name: str(work / name)
    before = lambda name: str(documents / name)
    run = lambda *command: measured([str(c) for c in command], env=ENVIRONMENT, cwd=work)
    circuit = ["-c", at("circuit.txt")]
    metadata = ["-m", before("circuit_metadata.json")]
    cost = run(
        builder, "run_compile_circuit", *circuit, *metadata,
        "-a", before("circuit_architecture.json"), "-b", before("circuit_wandb.json"),
    )
    sizes = [at("circuit.txt"), at("circuit_witness_solver.txt")]
    rows = [("compile", *cost, files(sizes))]
    cost = run(
        builder, "run_gen_witness", *circuit, *metadata,
        "-i", before("ints.json"), "-o", before("out.json"), "-w", at("witness.bin"),
    )
    rows.append(("witness", *cost, files([at("witness.bin")])))
    hyrax = [prover, "-p", "Hyrax"]
    witness = ["-w", at("witness.bin")]
    cost = run(*hyrax, "prove", *circuit, *witness, "-o", at("proof.bin"))
    rows.append(("prove", *cost, files([at("proof.bin")])))
    cost = run(*hyrax, "verify", *circuit, *witness, "-i", at("proof.bin"))
    rows.append(("verify", *cost, files([at("circuit.txt")])))
    return rows


def jst_command(jst, work):
    """The command line, on the model with explicit attributes."""
    at = lambda name: str(work / name)
    run = lambda *args: measured([jst, "--no-banner", *args], env=ENVIRONMENT, cwd=work)
    circuit, witness = ["-c", at("circuit.txt")], ["-w", at("witness.bin")]
    claim = ["-i", at("ints.json"), "-o", at("out.json")]
    cost = run("compile", "-m", at("model.onnx"), *circuit)
    kept = ["circuit.txt", "circuit_witness_solver.txt", "circuit_quantized_model.onnx"]
    rows = [("compile", *cost, files(map(at, kept)))]
    cost = run("witness", *circuit, *claim, *witness)
    rows.append(("witness", *cost, files([at("witness.bin")])))
    cost = run("prove", *circuit, *witness, "-p", at("proof.bin"))
    rows.append(("prove", *cost, files([at("proof.bin")])))
    cost = run("verify", *circuit, *claim, *witness, "-p", at("proof.bin"))
    rows.append(("verify", *cost, files([at("circuit.txt")])))
    return rows


def prepare(model, work):
    """A child process too: Linux counts a parent's memory to the peak of its children, so
    what measures them must stay small."""
    import numpy
    import onnxruntime

    work = Path(work)
    session = onnxruntime.InferenceSession(model)
    ports = session.get_inputs()[0], session.get_outputs()[0]
    shapes = [[d if isinstance(d, int) else 1 for d in p.shape] for p in ports]
    given = json.loads((Path(model).parent / "input.json").read_text())
    first = numpy.array(next(iter(given.values())), dtype="float32").reshape(-1)
    sample = first[: numpy.prod(shapes[0])].reshape(shapes[0])
    expected = session.run(None, {ports[0].name: sample})[0]
    shutil.copy(model, work / "model.onnx")
    infos = [{"name": p.name, "dtype": "f32", "shape": s} for p, s in zip(ports, shapes)]
    document = {
        "slice": {
            "index": 0,
            "model": str(work / "model.onnx"),
            "sha256": digest(model),
            "model_sha256": digest(model),
            "inputs": infos[:1],
            "outputs": infos[1:],
        }
    }
    for name, info, values in zip(("input", "expected"), infos, (sample, expected)):
        path = work / f"{name}.bin"
        path.write_bytes(values.astype("<f4").tobytes())
        document[name] = {**info, "path": str(path), "sha256": digest(path)}
    (work / "prepared.json").write_text(json.dumps(document))

    # For the jst command, which takes integers as they are.
    (work / "jst").mkdir()
    explicit(model, work / "jst" / "model.onnx")
    integers = [int(v) for v in (sample.reshape(-1).astype("float64") * 2**18).round()]
    (work / "jst" / "ints.json").write_text(json.dumps({"input": integers}))


def explicit(model, path):
    import onnx
    from onnx import helper

    defaults = {
        "Conv": {"strides": [1, 1], "dilations": [1, 1], "pads": [0] * 4, "group": 1},
        "MaxPool": {"dilations": [1, 1], "pads": [0] * 4, "ceil_mode": 0, "storage_order": 0},
        "Gemm": {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0},
    }
    document = onnx.load(model)
    for node in document.graph.node:
        have = {a.name for a in node.attribute}
        for key, value in defaults.get(node.op_type, {}).items():
            if key not in have:
                node.attribute.append(helper.make_attribute(key, value))
    onnx.save(document, path)


def table(title, rows):
    print(f"\n### {title}\n")
    print("| stage | CPU s | peak MB | files |")
    print("| --- | ---: | ---: | ---: |")
    for name, cpu, peak, size in rows:
        text = f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"
        print(f"| {name} | {max(cpu, 0):.3f} | {peak:.0f} | {text} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("plugins", type=Path)
    parser.add_argument("--model", default="lenet", help="a directory of models/")
    parser.add_argument("--only", action="append", help="jstprove, jst, ezkl or sumcheck")
    parser.add_argument("--jst", help="the jst command")
    parser.add_argument("--srs-dir", type=Path, help="where EZKL's test SRS lies or is made")
    arguments = parser.parse_args()
    wanted = lambda name: not arguments.only or name in arguments.only

    model = ROOT / "models" / arguments.model / "model.onnx"
    print(f"{arguments.model}, {platform.machine()}, {os.cpu_count()} cores, {THREADS} threads")
    work = Path(tempfile.mkdtemp(prefix="dsperse-bench-"))
    try:
        command = [sys.executable, __file__, "--prepare", str(model), str(work)]
        subprocess.run(command, check=True)
        prepared = json.loads((work / "prepared.json").read_text())
        plugin = lambda name, options: Plugin(
            arguments.plugins / f"libdsperse_backend_{name}.so", options, work / name, prepared
        ).run()
        if wanted("jstprove"):
            table("jstprove: plugin", plugin("jstprove", {}))
        if arguments.jst and wanted("jst"):
            table("jstprove: `jst` command", jst_command(arguments.jst, work / "jst"))
            alone = programs_alone(programs_directory(), work / "jst", work / "alone")
            table("jstprove: programs alone", alone)
        if wanted("sumcheck"):
            table("sumcheck", plugin("sumcheck", {}))
        if wanted("ezkl"):
            srs = arguments.srs_dir or work / "srs"
            srs.mkdir(exist_ok=True)
            options = {"srs_dir": str(srs), "insecure_test_srs": True, "logrows": 15}
            table("ezkl, 2^15 rows", plugin("ezkl", options))
    finally:
        shutil.rmtree(work)


def programs_directory():
    """Where the plugin finds JSTprove's programs."""
    environment = os.environ.get("VIRTUAL_ENV", ROOT / ".venv")
    found = sorted(Path(environment).glob("lib/python3*/site-packages/python/core/binaries"))
    if not found:
        raise SystemExit("JSTprove's programs are not in VIRTUAL_ENV or .venv")
    return found[0]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--stage"]:
        stage(*sys.argv[2:])
    elif sys.argv[1:2] == ["--prepare"]:
        prepare(*sys.argv[2:])
    else:
        main()
