"""The program's JSON documents as dataclasses.

Every class keeps the document that it was made from in ``raw``: fields that a later version
adds are found there. Times are in seconds, sizes in bytes, digests SHA-256 in lower-case
hexadecimal. The documents are described in docs/user-guide.md and
docs/verification-report.md.
"""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

from ._arrays import Array, outputs_in, read_output

Json = dict[str, Any]


@dataclass(frozen=True)
class Document:
    """What all documents have."""

    #: The document as the program printed it.
    raw: Json = field(repr=False, compare=False)


@dataclass(frozen=True)
class Usage:
    """What a job cost."""

    #: Wall-clock seconds.
    seconds: float
    #: CPU seconds over all threads and children.
    cpu_seconds: float
    #: Peak memory in bytes.
    peak_bytes: int
    #: When it began, in seconds since 1970-01-01 00:00 UTC; ``None`` for sums.
    started_at: Optional[float] = None

    @classmethod
    def from_json(cls, d: Json) -> Usage:
        """From an object that has these fields among others."""
        started = d.get("started_at")
        return cls(
            float(d.get("seconds", 0)),
            float(d.get("cpu_seconds", 0)),
            int(d.get("peak_bytes", 0)),
            None if started is None else float(started),
        )


@dataclass(frozen=True)
class Fallback:
    """A backend of the chain that was turned down, and why."""

    backend: str
    stage: str
    #: Kind of error; ``None`` when the backend was never asked.
    kind: Optional[str]
    reason: str
    hint: Optional[str]
    #: The node that could not be done, and its operator.
    node: Optional[str]
    op: Optional[str]

    @classmethod
    def from_json(cls, d: Json) -> Fallback:
        """From one entry of ``fallbacks``."""
        return cls(
            str(d["backend"]), str(d["stage"]), d.get("kind"), str(d["reason"]), d.get("hint"), d.get("node"), d.get("op")
        )


@dataclass(frozen=True)
class Fidelity:
    """How far the computed values are from those of the float model."""

    #: Largest absolute difference; ``None`` when a value is not finite.
    max_abs: Optional[float]
    #: Largest relative difference; ``None`` when a value is not finite.
    max_rel: Optional[float]
    #: Whether the largest element is at the same place; ``None`` where that makes no sense.
    same_argmax: Optional[bool]
    raw: Json = field(repr=False, compare=False)

    @classmethod
    def from_json(cls, d: Optional[Json]) -> Optional[Fidelity]:
        """``None`` when nothing was measured."""
        return None if d is None else cls(d.get("max_abs"), d.get("max_rel"), d.get("same_argmax"), d)


@dataclass(frozen=True)
class SliceReport:
    """What became of one slice in a stage."""

    index: int
    #: Its operators, as words.
    operators: str
    #: The backend that did it; ``None`` when none did.
    backend: Optional[str]
    #: ``done``, ``up_to_date``, ``nothing``, ``failed`` or ``skipped``.
    outcome: str
    usage: Usage
    artefact_bytes: int
    fallbacks: tuple[Fallback, ...]
    error: Optional[str]
    hint: Optional[str]
    warnings: tuple[str, ...]

    @classmethod
    def from_json(cls, d: Json) -> SliceReport:
        """From one entry of ``slices``."""
        return cls(
            index=int(d["index"]),
            operators=str(d["operators"]),
            backend=d.get("backend"),
            outcome=str(d["outcome"]),
            usage=Usage.from_json(d),
            artefact_bytes=int(d["artefact_bytes"]),
            fallbacks=tuple(map(Fallback.from_json, d.get("fallbacks", []))),
            error=d.get("error"),
            hint=d.get("hint"),
            warnings=tuple(d.get("warnings", [])),
        )


@dataclass(frozen=True)
class StageReport(Document):
    """A finished ``compile`` or ``prove``."""

    slices: tuple[SliceReport, ...]
    #: Whether no slice failed and none was left out.
    complete: bool
    seconds: Optional[float]
    #: Of ``compile``: digest of the keys, which verifiers pin with ``expect_keys``.
    keys_sha256: Optional[str]

    @classmethod
    def from_json(cls, d: Json) -> StageReport:
        """From the document of ``compile`` or ``prove``, or a part of that of ``full-run``."""
        slices = tuple(map(SliceReport.from_json, d["slices"]))
        left = any(s.outcome in ("failed", "skipped") for s in slices)
        return cls(
            raw=d,
            slices=slices,
            complete=bool(d.get("complete", not left)),
            seconds=d.get("seconds"),
            keys_sha256=d.get("keys_sha256"),
        )

    def _repr_html_(self) -> str:
        rows = [
            (s.index, s.operators, s.backend or "-", s.outcome, f"{s.usage.seconds:.2f} s", _size(s.usage.peak_bytes),
             _size(s.artefact_bytes))
            for s in self.slices
        ]
        return _table(("slice", "operators", "backend", "result", "time", "memory", "files"), rows)


@dataclass(frozen=True)
class RunResult(Document):
    """A run: the chain's values on disk, and what was measured."""

    #: The run's directory.
    path: Path
    slices: tuple[SliceReport, ...]
    complete: bool
    #: The chain's output against the float model.
    fidelity: Optional[Fidelity]
    #: The model's outputs by name; empty when the run is not complete.
    outputs: dict[str, Array] = field(repr=False)

    @classmethod
    def from_json(cls, d: Json, outputs: dict[str, Array]) -> RunResult:
        """From the document of ``run``."""
        return cls(
            raw=d,
            path=Path(d["path"]),
            slices=tuple(map(SliceReport.from_json, d["slices"])),
            complete=bool(d["complete"]),
            fidelity=Fidelity.from_json(d["results"].get("fidelity")),
            outputs=outputs,
        )


@dataclass(frozen=True)
class Batch(Document):
    """Runs on several inputs, as ``run_batch`` made them."""

    #: The directory of the batch.
    path: Path
    #: Where each input comes from, and its run, in the order of the inputs.
    sources: tuple[str, ...]
    runs: tuple[RunResult, ...]
    #: Wall-clock seconds of all.
    seconds: float

    @property
    def complete(self) -> bool:
        """Whether every run is."""
        return all(run.complete for run in self.runs)

    @classmethod
    def from_json(cls, d: Json, outputs: Sequence[dict[str, Array]]) -> Batch:
        """From the document of ``run`` on several inputs."""
        each = zip(d["runs"], outputs)
        return cls(
            raw=d,
            path=Path(d["path"]),
            sources=tuple(str(r["source"]) for r in d["runs"]),
            runs=tuple(RunResult.from_json(r, found) for r, found in each),
            seconds=float(d["seconds"]),
        )


@dataclass(frozen=True)
class Counts:
    """How many slices got each verdict."""

    proven: int
    recomputed: int
    unchecked: int
    failed: int


@dataclass(frozen=True)
class ProvenShare:
    """Which part of the model's work was proven."""

    proven_parameters: int
    total_parameters: int
    proven_macs: int
    total_macs: int


@dataclass(frozen=True)
class SliceVerdict:
    """The verdict on one slice, with its grounds."""

    index: int
    #: ``proven``, ``recomputed``, ``unchecked`` or ``failed``.
    verdict: str
    backend: Optional[str]
    backend_version: Optional[str]
    #: Why: which check failed, or what is missing. ``None`` for proven slices.
    reason: Optional[str]
    hint: Optional[str]
    #: Why the key is believed to be the slice's: ``as_given``, ``recompiled`` or ``pinned``.
    keys: Optional[str]
    warnings: tuple[str, ...]
    raw: Json = field(repr=False, compare=False)

    @classmethod
    def from_json(cls, d: Json) -> SliceVerdict:
        """From one entry of ``slices``."""
        return cls(
            index=int(d["index"]),
            verdict=str(d["verdict"]),
            backend=d.get("backend"),
            backend_version=d.get("backend_version"),
            reason=d.get("reason"),
            hint=d.get("hint"),
            keys=d.get("keys"),
            warnings=tuple(d.get("warnings", [])),
            raw=d,
        )


@dataclass(frozen=True)
class Receipt(Document):
    """A receipt: digests and verdicts with which others repeat a verification."""

    model_identity: str
    model_sha256: str
    input_sha256: str
    output_sha256: str
    accepted: bool

    @classmethod
    def from_json(cls, d: Json) -> Receipt:
        """From ``receipt.json``."""
        return cls(
            raw=d,
            model_identity=str(d["model_identity"]),
            model_sha256=str(d["model_sha256"]),
            input_sha256=str(d["input_sha256"]),
            output_sha256=str(d["output_sha256"]),
            accepted=bool(d["accepted"]),
        )


@dataclass(frozen=True)
class Verification(Document):
    """What a verifier says. ``bool(verification)`` is ``accepted``."""

    #: Whether the demand is met and nothing failed.
    accepted: bool
    #: What was demanded: ``proven``, ``checked`` or ``any``.
    require: str
    model_identity: str
    model_sha256: str
    input_sha256: str
    output_sha256: str
    #: Digest of the keys of the proven slices; ``None`` when nothing was proven.
    keys_sha256: Optional[str]
    counts: Counts
    proven_share: ProvenShare
    #: Proven share from 0 to 1; ``None`` when the model has none.
    proven_by_parameters: Optional[float]
    proven_by_macs: Optional[float]
    fidelity: Optional[Fidelity]
    slices: tuple[SliceVerdict, ...]
    #: What is wrong with the run as a whole.
    failures: tuple[str, ...]

    @classmethod
    def from_json(cls, d: Json) -> Verification:
        """From the document of ``verify``."""
        c, p = d["counts"], d["proven_share"]
        return cls(
            raw=d,
            accepted=bool(d["accepted"]),
            require=str(d["require"]),
            model_identity=str(d["model_identity"]),
            model_sha256=str(d["model_sha256"]),
            input_sha256=str(d["input_sha256"]),
            output_sha256=str(d["output_sha256"]),
            keys_sha256=d.get("keys_sha256"),
            counts=Counts(int(c["proven"]), int(c["recomputed"]), int(c["unchecked"]), int(c["failed"])),
            proven_share=ProvenShare(
                int(p["proven_parameters"]), int(p["total_parameters"]), int(p["proven_macs"]), int(p["total_macs"])
            ),
            proven_by_parameters=d.get("proven_by_parameters"),
            proven_by_macs=d.get("proven_by_macs"),
            fidelity=Fidelity.from_json(d.get("fidelity")),
            slices=tuple(map(SliceVerdict.from_json, d["slices"])),
            failures=tuple(d.get("failures", [])),
        )

    def __bool__(self) -> bool:
        return self.accepted

    def __str__(self) -> str:
        c = self.counts
        word = "accepted" if self.accepted else "not accepted"
        return (
            f"verdict: {word} (require {self.require}); {c.proven} proven, {c.recomputed} recomputed, "
            f"{c.unchecked} unchecked, {c.failed} failed"
        )

    def _repr_html_(self) -> str:
        rows = [(s.index, s.verdict, s.backend or "-", s.keys or "-", s.reason or "") for s in self.slices]
        failures = "".join(f"<p>{html.escape(f)}</p>" for f in self.failures)
        table = _table(("slice", "verdict", "backend", "keys", "reason"), rows)
        return f"<p><strong>{html.escape(str(self))}</strong></p>{failures}{table}"


@dataclass(frozen=True)
class FullRun(Document):
    """Everything that ``full-run`` did."""

    run: RunResult
    compiled: StageReport
    proven: StageReport
    verification: Verification

    @property
    def outputs(self) -> dict[str, Array]:
        """The model's outputs by name."""
        return self.run.outputs

    @classmethod
    def from_json(cls, d: Json, outputs: dict[str, Array]) -> FullRun:
        """From the document of ``full-run``."""
        stage = StageReport.from_json(d["run_stage"])
        run = RunResult(
            raw=d["run_stage"],
            path=Path(d["run"]),
            slices=stage.slices,
            complete=stage.complete,
            fidelity=Fidelity.from_json(d["results"].get("fidelity")),
            outputs=outputs,
        )
        return cls(
            raw=d,
            run=run,
            compiled=StageReport.from_json(d["compile"]),
            proven=StageReport.from_json(d["prove"]),
            verification=Verification.from_json(d["verification"]),
        )

    def _repr_html_(self) -> str:
        return self.verification._repr_html_() + self.proven._repr_html_()


@dataclass(frozen=True)
class Sliced(Document):
    """A model that was sliced."""

    #: Where the slices are.
    path: Path
    #: Whether they were there already.
    unchanged: bool
    #: What ``expect_model`` pins.
    identity: str
    #: Number of slices.
    count: int
    warnings: tuple[str, ...]

    @classmethod
    def from_json(cls, d: Json) -> Sliced:
        """From the document of ``slice``."""
        model = d["model"]
        return cls(
            raw=d,
            path=Path(d["path"]),
            unchanged=bool(d["unchanged"]),
            identity=str(model["identity"]),
            count=len(model["slices"]),
            warnings=tuple(d.get("warnings", [])),
        )


@dataclass(frozen=True)
class SliceAnalysis:
    """One slice, and which backend could prove it."""

    index: int
    operators: str
    parameters: int
    macs: int
    #: The backend that ``compile`` would try first.
    backend: Optional[str]
    #: Why a backend can't do it, by backend.
    declined: dict[str, str]

    @classmethod
    def from_json(cls, d: Json) -> SliceAnalysis:
        """From one entry of ``analysis.slices``."""
        return cls(
            index=int(d["index"]),
            operators=str(d["operators"]),
            parameters=int(d["parameters"]),
            macs=int(d["macs"]),
            backend=d.get("backend"),
            declined={a["backend"]: str(a.get("reason") or "") for a in d.get("answers", []) if not a["supported"]},
        )


@dataclass(frozen=True)
class Analysis(Document):
    """What is in a model, and what each backend could prove of it."""

    identity: str
    parameters: int
    macs: int
    slices: tuple[SliceAnalysis, ...]

    @classmethod
    def from_json(cls, d: Json) -> Analysis:
        """From the document of ``analyze``."""
        a = d["analysis"]
        return cls(
            raw=d,
            identity=str(a["identity"]),
            parameters=int(a["parameters"]),
            macs=int(a["macs"]),
            slices=tuple(map(SliceAnalysis.from_json, a["slices"])),
        )

    def _repr_html_(self) -> str:
        rows = [
            (s.index, s.operators, f"{s.parameters:,}", f"{s.macs:,}", s.backend or "-",
             "; ".join(f"{b}: {r}" for b, r in s.declined.items()))
            for s in self.slices
        ]
        return _table(("slice", "operators", "parameters", "MACs", "backend", "declined"), rows)


def outputs_of(path: Path) -> dict[str, Array]:
    """The outputs that a command wrote; empty when it wrote none."""
    return read_output(path) if path.exists() else {}


def lines_of(path: Path) -> list[dict[str, Array]]:
    """The outputs of a batch, a line each."""
    return [outputs_in(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def _size(n: int) -> str:
    value, units = float(n), ["B", "kB", "MB", "GB", "TB"]
    while value >= 1000 and len(units) > 1:
        value /= 1000
        units.pop(0)
    return f"{value:.0f} {units[0]}" if value >= 100 or units[0] == "B" else f"{value:.1f} {units[0]}"


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    top = "".join(f"<th>{html.escape(h)}</th>" for h in head)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(str(c))}</td>" for c in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
