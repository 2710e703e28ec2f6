"""NumPy arrays as model inputs and outputs."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Union

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
#: A model input: one array, one array per input in the model's order, or arrays by name.
Arrays = Union[Array, Sequence[Array], Mapping[str, Array]]
PathLike = Union[str, "os.PathLike[str]"]


def write_input(path: PathLike, values: Arrays) -> Path:
    """Writes a model input where the program can read it, and returns the path.

    Arrays by name become a ``.npz`` file, one array a ``.npy`` file, several in the model's
    order a JSON file; ``path`` gets the suffix that fits. Shapes are those of the model's
    inputs, or flattened.
    """
    target = Path(path)
    if isinstance(values, np.ndarray):
        target = target.with_suffix(".npy")
        np.save(target, values, allow_pickle=False)
    elif isinstance(values, Mapping):
        target = target.with_suffix(".npz")
        arrays = {str(name): np.asarray(array) for name, array in values.items()}
        with target.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
    else:
        target = target.with_suffix(".json")
        data = [np.asarray(array).tolist() for array in values]
        target.write_text(json.dumps({"input_data": data}), encoding="utf-8")
    return target


def read_output(path: PathLike) -> dict[str, Array]:
    """Reads an output file of ``run`` or ``full-run`` as arrays by output name."""
    return outputs_in(json.loads(Path(path).read_text(encoding="utf-8")))


def outputs_in(document: Mapping[str, Any]) -> dict[str, Array]:
    """The arrays of an output document, by output name."""
    return {name: _array(value) for name, value in document["outputs"].items()}


def _array(value: Mapping[str, Any]) -> Array:
    dtype = str(value["dtype"])
    named = {"f32": "float32", "f64": "float64", "f16": "float16", "bf16": "float32", "fixed": "float64"}
    for sign, word in (("i", "int"), ("u", "uint")):
        named.update({f"{sign}{bits}": f"{word}{bits}" for bits in (8, 16, 32, 64)})
    data = value["data"]
    array = np.array(data, dtype=named.get(dtype, "bool" if dtype == "bool" else "float64"))
    return array.reshape([int(n) for n in value["shape"]])
