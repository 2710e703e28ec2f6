"""Fixtures: a copy of a sample model, and the runs that several tests look at."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

import dsperse

MODELS = Path(__file__).resolve().parents[3] / "models"


def copy_of(model: str, to: Path) -> Path:
    """A model's directory without slices and runs of earlier commands."""
    place = to / model
    place.mkdir()
    for name in ("model.onnx", "input.json"):
        shutil.copy(MODELS / model / name, place / name)
    return place


@pytest.fixture(scope="session", autouse=True)
def no_configuration() -> None:
    """The user's configuration must not change what the tests see."""
    os.environ["XDG_CONFIG_HOME"] = os.devnull


@pytest.fixture
def mlp(tmp_path: Path) -> Path:
    """A small model of its own for one test."""
    return copy_of("digits-mlp", tmp_path)


@pytest.fixture(scope="session")
def digits() -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """An input of the model."""
    rng = np.random.default_rng(7)
    return rng.integers(0, 17, size=(1, 64)).astype(np.float32)


@pytest.fixture(scope="session")
def done(tmp_path_factory: pytest.TempPathFactory) -> dsperse.FullRun:
    """A finished run, which tests only read."""
    place = copy_of("digits-mlp", tmp_path_factory.mktemp("done"))
    return dsperse.full_run(place, backend="sumcheck|onnx")
