"""Trains the sample models and writes them beside this file.

    python models/make.py [NAME …]

For every sample: `model.onnx`, `input.json` (the first held-out image) and `heldout.npz`
with 100 held-out images (`input`), their labels (`label`) and what ONNX Runtime answers
(`logits`). Prints a table of accuracies for README.md. Needs what requirements.txt lists.
"""

import json
import os
import sys
import time
from pathlib import Path

# One thread: the order of float additions, and so the files, do not depend on the machine's cores.
for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np
import onnx
import onnxruntime
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from samples import SAMPLES

HERE = Path(__file__).resolve().parent
KEPT = 100


def main(names):
    data = load_digits()
    images = (data.images / 16).astype(np.float32)
    split = train_test_split(
        images, data.target, test_size=360, random_state=1, stratify=data.target
    )
    train_x, test_x, train_y, test_y = split
    print("| model | parameters | file | accuracy on 360 held-out | on the kept 100 | training |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in names:
        start = time.monotonic()
        sample = SAMPLES[name](train_x, train_y)
        seconds = time.monotonic() - start
        folder = HERE / name
        folder.mkdir(exist_ok=True)
        onnx.checker.check_model(sample.model, full_check=True)
        raw = sample.model.SerializeToString(deterministic=True)
        (folder / "model.onnx").write_bytes(raw)
        session = onnxruntime.InferenceSession(raw, providers=["CPUExecutionProvider"])
        x = sample.prepare(test_x)
        logits = np.concatenate([session.run(None, {"input": row[None]})[0] for row in x])
        right = logits.argmax(1) == test_y
        np.savez_compressed(
            folder / "heldout.npz",
            input=x[:KEPT],
            label=test_y[:KEPT].astype(np.int64),
            logits=logits[:KEPT],
        )
        document = {"input_data": [x[0].ravel().tolist()]}
        (folder / "input.json").write_text(json.dumps(document) + "\n")
        parameters = sum(
            int(np.prod(t.dims))
            for t in sample.model.graph.initializer
            if t.data_type == onnx.TensorProto.FLOAT
        )
        print(
            f"| {name} | {parameters} | {len(raw) / 1000:.1f} kB "
            f"| {right.mean():.1%} | {right[:KEPT].mean():.0%} | {seconds:.1f} s |",
            flush=True,
        )


if __name__ == "__main__":
    chosen = sys.argv[1:] or list(SAMPLES)
    unknown = [n for n in chosen if n not in SAMPLES]
    if unknown:
        sys.exit(f"unknown sample {unknown[0]!r}; known: {', '.join(SAMPLES)}")
    main(chosen)
