"""Writes ONNX's own node tests as plain files, for tests/node_cases.rs.

    python plugins/onnx/tests/node_cases.py DIR

Every case becomes DIR/<name>/ with model.onnx, case.json (names, types, shapes) and raw
little-endian inputs<i>.bin and outputs<i>.bin. Cases whose further inputs are parameters
(axes, shapes, scales) are written a second time, as <name>.fixed, with all inputs but the
first as initializers, because the engine wants those constant. Needs numpy and onnx.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test.case.node import collect_testcases

PLAIN = {f"{k}{n}" for k in ("int", "uint") for n in (8, 16, 32, 64)} | {
    "float16",
    "float32",
    "float64",
    "bool",
}


def write(folder, model, inputs, outputs):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    document = {}
    for side, tensors in (("inputs", inputs), ("outputs", outputs)):
        document[side] = []
        for i, (name, value) in enumerate(tensors):
            document[side].append(
                {"name": name, "dtype": str(value.dtype), "shape": list(value.shape)}
            )
            (folder / f"{side}{i}.bin").write_bytes(value.tobytes())
    (folder / "case.json").write_text(json.dumps(document))


def main(target):
    written = 0
    for case in collect_testcases(None):
        if not case.data_sets:
            continue
        given, expected = case.data_sets[0]
        values = list(given) + list(expected)
        if not all(isinstance(v, np.ndarray) and str(v.dtype) in PLAIN for v in values):
            continue
        model = case.model
        weights = {t.name for t in model.graph.initializer}
        names = [v.name for v in model.graph.input if v.name not in weights]
        inputs = list(zip(names, given))
        outputs = [(v.name, t) for v, t in zip(model.graph.output, expected)]
        write(target / case.name, model, inputs, outputs)
        written += 1
        if len(inputs) > 1:
            fixed = onnx.ModelProto()
            fixed.CopyFrom(model)
            fixed.graph.initializer.extend(
                numpy_helper.from_array(np.ascontiguousarray(v).reshape(v.shape), n)
                for n, v in inputs[1:]
            )
            kept = [v for v in fixed.graph.input if v.name == inputs[0][0]]
            del fixed.graph.input[:]
            fixed.graph.input.extend(kept)
            fixed.ir_version = max(fixed.ir_version, 4)
            write(target / f"{case.name}.fixed", fixed, inputs[:1], outputs)
            written += 1
    print(f"{written} cases of onnx {onnx.__version__} in {target}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: node_cases.py DIR")
    main(Path(sys.argv[1]))
