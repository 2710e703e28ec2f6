"""The commands as functions. Arguments are those of the command line; see docs/user-guide.md."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Optional, Union

import numpy as np

from ._arrays import Arrays, PathLike, write_input
from ._documents import Analysis, Batch, FullRun, RunResult, Sliced, StageReport, Verification, lines_of, outputs_of
from ._errors import DsperseError, UsageError
from ._program import Listener, call, find_program
from ._progress import Event, Progress

#: A file, or values: one array, one per input, or arrays by name.
Input = Union[PathLike, Arrays]


def version() -> str:
    """The version of the program."""
    done = subprocess.run([str(find_program()), "--version"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise DsperseError("the program does not tell its version", exit_code=done.returncode, log=done.stderr)
    return done.stdout.split()[-1]


def slice(
    model: PathLike,
    *,
    output_dir: Optional[PathLike] = None,
    output_type: Optional[str] = None,
    strategy: Optional[str] = None,
    at: Sequence[Union[str, int]] = (),
    batch: Optional[int] = None,
    dims: Optional[dict[str, int]] = None,
    input_shapes: Optional[dict[str, Sequence[int]]] = None,
    progress: Optional[Progress] = None,
    **options: Any,
) -> Sliced:
    """Cuts a model into slices.

    ``model`` is an ``.onnx`` file or a directory that holds ``model.onnx``. ``strategy`` and
    ``output_type`` are words of the command line. ``dims`` fixes named sizes, ``input_shapes``
    whole inputs. Other keyword arguments become flags: ``memory="4G"`` is ``--memory 4G``.
    """
    arguments = ["slice", "--model-dir", _path(model)]
    _flag(arguments, "--output-dir", output_dir)
    _flag(arguments, "--output-type", output_type)
    _flag(arguments, "--strategy", strategy)
    if at:
        arguments += ["--at", ",".join(str(node) for node in at)]
    _sizes(arguments, batch, dims, input_shapes)
    return Sliced.from_json(_call(arguments, options, progress))


def compile(
    slices: PathLike,
    *,
    input: Optional[Input] = None,
    layers: Optional[str] = None,
    backend: Optional[str] = None,
    strict: bool = False,
    force: bool = False,
    progress: Optional[Progress] = None,
    **options: Any,
) -> StageReport:
    """Compiles slices to circuits and keys, each through its chain of backends.

    ``input`` calibrates the quantisation. A slice that fails makes ``complete`` false; the
    report says why.
    """
    with _input(input) as file:
        arguments = ["compile", "--slices", _path(slices)]
        _flag(arguments, "--input-file", file)
        _flag(arguments, "--layers", layers)
        _flag(arguments, "--backend", backend)
        _switch(arguments, "--strict", strict)
        _switch(arguments, "--force", force)
        return StageReport.from_json(_call(arguments, options, progress, accept=(0, 1)))


def run(
    slices: PathLike,
    input: Optional[Input] = None,
    *,
    backend: Optional[str] = None,
    run_dir: Optional[PathLike] = None,
    progress: Optional[Progress] = None,
    **options: Any,
) -> RunResult:
    """Runs the slices on an input and makes witnesses.

    ``input`` is a file or arrays; by default ``input.json`` beside the model. The result has
    the model's outputs as arrays.
    """
    with _input(input) as file, _scratch() as scratch:
        output = scratch / "output.json"
        arguments = ["run", "--slices", _path(slices), "--output-file", str(output)]
        _flag(arguments, "--input-file", file)
        _flag(arguments, "--backend", backend)
        _flag(arguments, "--run-dir", run_dir)
        document = _call(arguments, options, progress, accept=(0, 1))
        return RunResult.from_json(document, outputs_of(output))


def run_batch(
    slices: PathLike,
    inputs: Union[PathLike, Sequence[Arrays]],
    *,
    backend: Optional[str] = None,
    run_dir: Optional[PathLike] = None,
    progress: Optional[Progress] = None,
    **options: Any,
) -> Batch:
    """Runs the slices on several inputs, each a run of its own for ``prove`` and ``verify``.

    ``inputs`` are arrays, as ``run`` takes them for each input, or a path that holds at least
    two: a directory, JSON lines, or arrays with a first dimension of many.
    """
    with _scratch() as scratch:
        if isinstance(inputs, (str, os.PathLike)):
            path = Path(inputs)
        else:
            if len(inputs) < 2:
                raise UsageError(f"run_batch takes at least two inputs, not {len(inputs)}", hint="use run", exit_code=2)
            path = scratch / "inputs"
            path.mkdir()
            for at, values in enumerate(inputs):
                write_input(path / f"{at:08}", values)
        output = scratch / "outputs.jsonl"
        arguments = ["run", "--slices", _path(slices), "--output-file", str(output)]
        _flag(arguments, "--input-file", path)
        _flag(arguments, "--backend", backend)
        _flag(arguments, "--run-dir", run_dir)
        document = _call(arguments, options, progress, accept=(0, 1))
        if "runs" not in document:
            raise UsageError(f"\"{inputs}\" holds one input only", hint="use run", exit_code=2)
        return Batch.from_json(document, lines_of(output))


def prove(
    run: Union[RunResult, PathLike],
    slices: Optional[PathLike] = None,
    *,
    layers: Optional[str] = None,
    force: bool = False,
    progress: Optional[Progress] = None,
    **options: Any,
) -> StageReport:
    """Makes proofs for a run. ``slices`` are by default those that the run was made with."""
    arguments = ["prove", _run(run)]
    if slices is not None:
        arguments.append(_path(slices))
    _flag(arguments, "--layers", layers)
    _switch(arguments, "--force", force)
    return StageReport.from_json(_call(arguments, options, progress, accept=(0, 1)))


def verify(
    run: Union[RunResult, PathLike],
    slices: Optional[PathLike] = None,
    *,
    input: Optional[Input] = None,
    output: Optional[Input] = None,
    require: str = "checked",
    expect_model: Optional[str] = None,
    expect_keys: Optional[str] = None,
    expect_receipt: Optional[PathLike] = None,
    progress: Optional[Progress] = None,
    **options: Any,
) -> Verification:
    """Judges a run: is this the model's output on this input?

    ``input`` and ``output`` are the verifier's own and replace what the run says. A claim that
    is not accepted is no exception: ask ``verification.accepted``.
    """
    with _input(input) as given, _input(output) as claimed:
        arguments = ["verify", _run(run)]
        if slices is not None:
            arguments.append(_path(slices))
        _flag(arguments, "--input", given)
        _flag(arguments, "--output", claimed)
        _flag(arguments, "--require", require)
        _flag(arguments, "--expect-model", expect_model)
        _flag(arguments, "--expect-keys", expect_keys)
        _flag(arguments, "--expect-receipt", expect_receipt)
        return Verification.from_json(_call(arguments, options, progress, accept=(0, 1)))


def full_run(
    model: PathLike,
    input: Optional[Input] = None,
    *,
    slices: Optional[PathLike] = None,
    layers: Optional[str] = None,
    backend: Optional[str] = None,
    strict: bool = False,
    require: str = "checked",
    force: bool = False,
    batch: Optional[int] = None,
    dims: Optional[dict[str, int]] = None,
    input_shapes: Optional[dict[str, Sequence[int]]] = None,
    progress: Optional[Progress] = None,
    **options: Any,
) -> FullRun:
    """Slices, compiles, runs, proves and verifies.

    Slices go under ``<model_dir>/slices``, runs under ``<model_dir>/run``. Other keyword
    arguments become flags: ``memory="4G"`` is ``--memory 4G``, ``parallel=2`` is
    ``--parallel 2``.
    """
    with _input(input) as file, _scratch() as scratch:
        output = scratch / "output.json"
        arguments = ["full-run", "--model-dir", _path(model), "--output-file", str(output)]
        _flag(arguments, "--input-file", file)
        _flag(arguments, "--slices-dir", slices)
        _flag(arguments, "--layers", layers)
        _flag(arguments, "--backend", backend)
        _flag(arguments, "--require", require)
        _switch(arguments, "--strict", strict)
        _switch(arguments, "--force", force)
        _sizes(arguments, batch, dims, input_shapes)
        document = _call(arguments, options, progress, accept=(0, 1))
        return FullRun.from_json(document, outputs_of(output))


def analyze(
    model: PathLike,
    *,
    backend: Optional[str] = None,
    batch: Optional[int] = None,
    dims: Optional[dict[str, int]] = None,
    input_shapes: Optional[dict[str, Sequence[int]]] = None,
    progress: Optional[Progress] = None,
    **options: Any,
) -> Analysis:
    """What is in a model, what each backend could prove of it, and why not."""
    arguments = ["analyze", "--model-dir", _path(model)]
    _flag(arguments, "--backend", backend)
    _sizes(arguments, batch, dims, input_shapes)
    return Analysis.from_json(_call(arguments, options, progress))


def convert(
    path: PathLike,
    to: str,
    *,
    output: Optional[PathLike] = None,
    expand_slices: bool = False,
    cleanup: Optional[bool] = None,
    progress: Optional[Progress] = None,
    **options: Any,
) -> Path:
    """Converts slices to ``"dsperse"`` (one file), ``"dslice"`` (a file a slice) or ``"dirs"``.

    A ``.dsperse`` that becomes ``"dirs"`` is unpacked once, to ``.dslice`` files; with
    ``expand_slices`` each of them also becomes a directory.
    ``cleanup`` says whether the source is removed afterwards; by default a ``.dsperse`` file is.
    Returns where the result lies.
    """
    arguments = ["convert", "--input", _path(path), "--to", to]
    _flag(arguments, "--output", output)
    _switch(arguments, "--expand-slices", expand_slices)
    if cleanup is not None:
        arguments.append("--cleanup" if cleanup else "--no-cleanup")
    return Path(_call(arguments, options, progress)["path"])


def export(
    run: Union[RunResult, PathLike],
    output: PathLike,
    *,
    slices: Optional[PathLike] = None,
    progress: Optional[Progress] = None,
    **options: Any,
) -> Path:
    """Packs what a verifier needs of a run into one file, by custom ``NAME.dsproof``.

    ``verify`` and the page for browsers take it. Returns its path.
    """
    arguments = ["export", _run(run)]
    if slices is not None:
        arguments.append(_path(slices))
    _flag(arguments, "--output", output)
    return Path(_call(arguments, options, progress)["path"])


def report(
    path: Union[RunResult, PathLike],
    other: Union[RunResult, PathLike, None] = None,
    *,
    output: Optional[PathLike] = None,
    progress: Optional[Progress] = None,
    **options: Any,
) -> Path:
    """Writes one self-contained HTML page of a run or a model, or of two compared.

    Returns its path.
    """
    arguments = ["report", _run(path)]
    if other is not None:
        arguments.append(_run(other))
    _flag(arguments, "--output-file", output)
    return Path(_call(arguments, options, progress)["path"])


def _call(
    arguments: list[str], options: dict[str, Any], progress: Optional[Progress], accept: Sequence[int] = (0,)
) -> dict[str, Any]:
    for name, value in options.items():
        flag = "--" + name.replace("_", "-")
        if isinstance(value, bool):
            _switch(arguments, flag, value)
        elif isinstance(value, (list, tuple)):
            for item in value:
                _flag(arguments, flag, item)
        else:
            _flag(arguments, flag, value)
    listener: Optional[Listener] = None
    if progress is not None:
        report = progress

        def listener(event: dict[str, Any]) -> None:
            report(Event.from_json(event))

    return call(arguments, listener=listener, accept=accept)


def _path(path: PathLike) -> str:
    # A path that begins with "-" would be taken for a flag.
    text = str(Path(path))
    return f"./{text}" if text.startswith("-") else text


def _run(run: Union[RunResult, PathLike]) -> str:
    return _path(run.path if isinstance(run, RunResult) else run)


def _flag(arguments: list[str], flag: str, value: object) -> None:
    if value is not None:
        arguments.append(f"{flag}={value}")


def _switch(arguments: list[str], flag: str, on: bool) -> None:
    if on:
        arguments.append(flag)


def _sizes(
    arguments: list[str],
    batch: Optional[int],
    dims: Optional[dict[str, int]],
    shapes: Optional[dict[str, Sequence[int]]],
) -> None:
    _flag(arguments, "--batch", batch)
    for name, size in (dims or {}).items():
        _flag(arguments, "--dim", f"{name}={size}")
    for name, shape in (shapes or {}).items():
        _flag(arguments, "--input-shape", f"{name}=" + ",".join(str(n) for n in shape))


@contextlib.contextmanager
def _scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="dsperse-") as directory:
        yield Path(directory)


@contextlib.contextmanager
def _input(value: Optional[Input]) -> Iterator[Optional[Path]]:
    """The file of an input; values are written to a temporary one."""
    if value is None:
        yield None
    elif isinstance(value, (str, Path)) or hasattr(value, "__fspath__"):
        yield Path(value)
    else:
        with _scratch() as scratch:
            arrays: Any = value if isinstance(value, (dict, np.ndarray)) else list(value)
            yield write_input(scratch / "input", arrays)
