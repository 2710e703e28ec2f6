"""Verifiable machine learning: slice an ONNX model, prove each slice, verify the whole.

The package is a thin, typed layer over the ``dsperse`` program that comes with it. Each
function runs one command in a process of its own and returns its documented JSON result as
dataclasses, so a fault in a backend can't take the interpreter down, and there is one
implementation only.

>>> import dsperse
>>> result = dsperse.full_run("models/lenet")          # doctest: +SKIP
>>> result.verification.accepted                       # doctest: +SKIP
True
"""

from ._api import analyze, compile, convert, export, full_run, prove, report, run, run_batch, slice, verify, version
from ._arrays import read_output, write_input
from ._documents import (
    Analysis,
    Batch,
    Counts,
    Document,
    Fallback,
    Fidelity,
    FullRun,
    ProvenShare,
    Receipt,
    RunResult,
    SliceAnalysis,
    SliceReport,
    SliceVerdict,
    Sliced,
    StageReport,
    Usage,
    Verification,
)
from ._errors import (
    BackendError,
    BadInputError,
    DsperseError,
    FailedError,
    InterruptedRun,
    ProgramNotFound,
    UsageError,
)
from ._progress import Event, ProgressBars
from ._program import find_program

__all__ = [
    "Analysis",
    "BackendError",
    "BadInputError",
    "Batch",
    "Counts",
    "Document",
    "DsperseError",
    "Event",
    "FailedError",
    "Fallback",
    "Fidelity",
    "FullRun",
    "InterruptedRun",
    "ProgramNotFound",
    "ProgressBars",
    "ProvenShare",
    "Receipt",
    "RunResult",
    "SliceAnalysis",
    "SliceReport",
    "SliceVerdict",
    "Sliced",
    "StageReport",
    "Usage",
    "UsageError",
    "Verification",
    "analyze",
    "compile",
    "convert",
    "export",
    "find_program",
    "full_run",
    "prove",
    "read_output",
    "report",
    "run",
    "run_batch",
    "slice",
    "verify",
    "version",
    "write_input",
]
