"""The Python of docs/attestations.md against an attestation that the program made."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any, Callable, Dict

import pytest

import dsperse
from dsperse import _program

cryptography = pytest.importorskip("cryptography.exceptions")
PAGE = Path(__file__).resolve().parents[3] / "docs" / "attestations.md"
Opened = Callable[[bytes, bytes], Dict[str, Any]]


@pytest.fixture(scope="module")
def opened() -> Opened:
    """The function that the page shows."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    scope: dict[str, Any] = {}
    exec(code, scope)
    function: Opened = scope["opened"]
    return function


def test_a_public_library_verifies_it(
    done: dsperse.FullRun, tmp_path: Path, opened: Opened
) -> None:
    key, attestation = tmp_path / "key.pem", tmp_path / "attestation.json"
    _program.call(["keygen", "-o", str(key)])
    v = dsperse.verify(done.run, attest=str(key), attestation=str(attestation))
    assert v.accepted
    public = (tmp_path / "key.pub.pem").read_bytes()
    envelope = attestation.read_bytes()
    statement = opened(envelope, public)
    subjects = {s["name"]: s["digest"] for s in statement["subject"]}
    model = (Path(__file__).resolve().parents[3] / "models/digits-mlp/model.onnx").read_bytes()
    assert subjects["model.onnx"] == {"sha256": hashlib.sha256(model).hexdigest()}
    assert subjects["output"] == {"dsperseTensorsV1": v.output_sha256}
    assert statement["predicate"]["keys_sha256"] == v.keys_sha256

    # Another key, and another payload under the same signature.
    _program.call(["keygen", "-o", str(tmp_path / "other.pem")])
    with pytest.raises(cryptography.InvalidSignature):
        opened(envelope, (tmp_path / "other.pub.pem").read_bytes())
    dsse = json.loads(envelope)
    altered = base64.b64decode(dsse["payload"]).replace(b'"accepted":true', b'"accepted":false')
    dsse["payload"] = base64.b64encode(altered).decode()
    with pytest.raises(cryptography.InvalidSignature):
        opened(json.dumps(dsse).encode(), public)
