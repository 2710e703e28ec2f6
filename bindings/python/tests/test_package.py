"""The package against the real program."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dsperse
from dsperse import _program

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float32]]


def test_full_run_proves_everything(done: dsperse.FullRun) -> None:
    v = done.verification
    assert v and v.accepted and v.require == "checked"
    assert v.counts.proven == len(v.slices) and v.counts.failed == 0
    assert v.proven_by_macs == 1.0
    assert done.proven.complete and done.compiled.complete
    assert v.keys_sha256 is not None and v.keys_sha256 == done.compiled.keys_sha256
    assert done.run.path.is_dir()
    assert done.run.fidelity is not None and done.run.fidelity.same_argmax
    (output,) = done.outputs.values()
    assert output.shape == (1, 10) and np.isfinite(output).all()


def test_stages_one_by_one(mlp: Path, digits: Floats) -> None:
    sliced = dsperse.slice(mlp, output_type="dirs")
    assert sliced.path.is_dir() and sliced.count >= 1 and not sliced.unchanged
    assert dsperse.slice(mlp, output_type="dirs").unchanged
    compiled = dsperse.compile(sliced.path, input=digits, backend="sumcheck|onnx")
    assert compiled.complete and {s.backend for s in compiled.slices} == {"sumcheck"}
    ran = dsperse.run(sliced.path, digits)
    assert ran.complete and ran.outputs
    assert dsperse.prove(ran).complete
    good = dsperse.verify(ran, require="proven", input=digits, expect_model=sliced.identity,
                          expect_keys=compiled.keys_sha256)
    assert good.accepted
    assert {s.keys for s in good.slices} == {"pinned"}
    assert "accepted" in str(good) and "proven" in good._repr_html_()
    # Another input is not what was proven.
    bad = dsperse.verify(ran, input=digits + 1)
    assert not bad.accepted and not bad
    assert bad.counts.failed > 0 or bad.failures


def test_arrays_by_name_and_in_order_give_the_same(mlp: Path, digits: Floats) -> None:
    dsperse.slice(mlp, output_type="dirs")
    name = json.loads((mlp / "slices" / "metadata.json").read_text())["inputs"][0]["name"]
    values = []
    for given in ({name: digits}, [digits], digits, digits.reshape(-1)):
        ran = dsperse.run(mlp, given)
        values.append(next(iter(ran.outputs.values())))
    for other in values[1:]:
        np.testing.assert_array_equal(values[0], other)


def test_analyze_names_backends(mlp: Path) -> None:
    analysis = dsperse.analyze(mlp)
    assert analysis.parameters > 0 and analysis.slices
    assert "<table>" in analysis._repr_html_()


def test_errors_carry_message_and_hint(tmp_path: Path, mlp: Path) -> None:
    with pytest.raises(dsperse.BadInputError) as missing:
        dsperse.run(tmp_path / "nowhere", np.zeros(64, dtype=np.float32))
    assert missing.value.exit_code == 3 and "nowhere" in missing.value.message
    with pytest.raises(dsperse.UsageError):
        dsperse.full_run(mlp, no_such_flag=True)
    with pytest.raises(dsperse.BadInputError) as shape:
        dsperse.full_run(mlp, np.zeros((3, 3), dtype=np.float32), backend="onnx")
    assert "64" in str(shape.value)
    with pytest.raises(dsperse.BackendError) as none:
        dsperse.full_run(mlp, plugins=str(tmp_path))
    assert none.value.exit_code == 4


def test_progress_is_reported_and_its_faults_are_raised(mlp: Path) -> None:
    events: list[dsperse.Event] = []
    dsperse.full_run(mlp, backend="sumcheck|onnx", progress=events.append)
    kinds = [e.kind for e in events]
    assert kinds.count("stage_started") >= 4 and "finished" in kinds
    assert {e.stage for e in events if e.kind == "finished"} >= {"compile", "prove", "verify"}

    def fail(event: dsperse.Event) -> None:
        raise RuntimeError(f"no more at {event.kind}")

    with pytest.raises(RuntimeError, match="no more at"):
        dsperse.full_run(mlp, backend="sumcheck|onnx", force=True, progress=fail)


def test_bars_count_slices(mlp: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with dsperse.ProgressBars() as bars:
        dsperse.full_run(mlp, backend="sumcheck|onnx", progress=bars)
    assert "prove" in capsys.readouterr().err


def test_a_tampered_proof_is_not_accepted(done: dsperse.FullRun, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(done.run.path.parents[1], model)
    run = model / "run" / done.run.path.name
    proof = next(p for p in sorted(run.rglob("*")) if p.is_file() and "proof" in p.name)
    data = bytearray(proof.read_bytes())
    data[len(data) // 2] ^= 1
    proof.write_bytes(data)
    verdict = dsperse.verify(run)
    assert not verdict.accepted
    assert [s.verdict for s in verdict.slices].count("failed") >= 1


def test_one_file_for_verifiers_and_a_page(done: dsperse.FullRun, tmp_path: Path) -> None:
    packed = dsperse.export(done.run, tmp_path / "digits.dsproof")
    verdict = dsperse.verify(packed, require="proven")
    assert verdict.accepted
    assert all(s.usage.started_at for s in done.proven.slices)
    page = dsperse.report(done.run, output=tmp_path / "page.html")
    assert page.read_text().startswith("<!")


def test_a_batch_is_a_run_for_each_input(mlp: Path, digits: Floats) -> None:
    sliced = dsperse.slice(mlp)
    dsperse.compile(sliced.path, input=digits)
    batch = dsperse.run_batch(sliced.path, [digits, digits[:, ::-1]])
    assert batch.complete and len(batch.runs) == len(batch.sources) == 2
    first, second = (next(iter(run.outputs.values())) for run in batch.runs)
    assert first.shape == second.shape and not np.array_equal(first, second)
    for run in batch.runs:
        dsperse.prove(run)
        assert dsperse.verify(run, require="proven").accepted
    with pytest.raises(dsperse.UsageError, match="at least two"):
        dsperse.run_batch(sliced.path, [digits])


def test_conversion_there_and_back(mlp: Path) -> None:
    sliced = dsperse.slice(mlp, output_type="dirs")
    bundle = dsperse.convert(sliced.path, "dsperse", output=mlp / "one.dsperse", cleanup=False)
    assert bundle.is_file() and sliced.path.is_dir()
    folder = dsperse.convert(bundle, "dirs", output=mlp / "again", expand_slices=True)
    assert (folder / "slice_0" / "metadata.json").is_file() and not bundle.exists()


def test_documents_keep_unknown_fields() -> None:
    event = dsperse.Event.from_json({"event": "later", "slice": 3, "colour": "blue"})
    assert event.kind == "later" and event.slice == 3 and event.data["colour"] == "blue"


@pytest.mark.parametrize("value", [np.float32(1.5), np.int64(-(2**63))])
def test_outputs_are_exact(tmp_path: Path, value: Any) -> None:
    words = {"float32": "f32", "int64": "i64"}
    dtype = words[value.dtype.name]
    document = {"outputs": {"y": {"dtype": dtype, "shape": [1, 2], "data": [value.item()] * 2}}}
    file = tmp_path / "o.json"
    file.write_text(json.dumps(document))
    y = dsperse.read_output(file)["y"]
    assert y.dtype == value.dtype and y.shape == (1, 2) and (y == value).all()


def test_a_missing_program_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DSPERSE_PROGRAM", str(tmp_path / "none"))
    with pytest.raises(dsperse.ProgramNotFound, match="DSPERSE_PROGRAM"):
        dsperse.version()


def test_an_answer_that_is_not_json_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "dsperse"
    program.write_text("#!/bin/sh\necho hello\n")
    program.chmod(0o755)
    monkeypatch.setenv("DSPERSE_PROGRAM", str(program))
    with pytest.raises(dsperse.DsperseError, match="not JSON"):
        _program.call(["analyze"])


def test_version_is_that_of_the_program() -> None:
    assert dsperse.version().count(".") == 2
