"""How pip builds the package from source: maturin's backend (PEP 517), with the plugins.

maturin builds the command-line program and packs it; it knows nothing of the plugins, which are
libraries of their own. They are built here and put where the wheel takes its data from. A source
distribution likewise holds the whole workspace, as a program without plugins proves nothing.

``python build_backend.py`` builds only the plugins, for ``scripts/build-wheel.sh``.
"""

from __future__ import annotations

import gzip
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from email import message_from_bytes
from pathlib import Path
from typing import Any, Optional

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
DATA = HERE / "wheel.data"
#: Plugins of the wheel. Those of ``tests/plugins`` are faulty on purpose.
PLUGINS = ("ezkl", "jstprove", "onnx", "sumcheck")
#: What a source distribution holds: the workspace of ``Cargo.lock``, and this package.
SOURCES = (
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "bindings/python",
    "host",
    "plugin-api",
    "plugins",
    "tests",
)
LEFT_OUT = {"target", "__pycache__", "wheel.data", ".mypy_cache", ".pytest_cache"}
#: In a source distribution ``pyproject.toml`` lies at the top, where pip looks for it.
MOVED = {
    'backend-path = ["."]': 'backend-path = ["bindings/python"]',
    'readme = "README.md"': 'readme = "bindings/python/README.md"',
    'manifest-path = "../../host/cli/Cargo.toml"': 'manifest-path = "host/cli/Cargo.toml"',
    'python-source = "src"': 'python-source = "bindings/python/src"',
    'data = "wheel.data"': 'data = "bindings/python/wheel.data"',
}
Settings = Optional[dict[str, Any]]


def build_plugins() -> None:
    """Builds program and plugins, and puts the plugins into the wheel's data."""
    packages = ["dsperse", *(f"dsperse-backend-{name}" for name in PLUGINS)]
    command = [os.environ.get("CARGO", "cargo"), "build", "--release", "--locked"]
    for package in packages:
        command += ["-p", package]
    try:
        subprocess.run(command, cwd=ROOT, check=True)
    except FileNotFoundError:
        sys.exit("error: cargo was not found: install a Rust toolchain to build dsperse from source")
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    into = DATA / "data" / "lib" / "dsperse" / "plugins"
    shutil.rmtree(DATA, ignore_errors=True)
    into.mkdir(parents=True)
    for name in PLUGINS:
        shutil.copy(ROOT / target / "release" / f"libdsperse_backend_{name}.so", into)


def get_requires_for_build_wheel(config_settings: Settings = None) -> list[str]:
    """Nothing beyond what ``pyproject.toml`` names."""
    return []


get_requires_for_build_sdist = get_requires_for_build_wheel


def prepare_metadata_for_build_wheel(directory: str, config_settings: Settings = None) -> str:
    """The metadata alone, for which nothing has to be built."""
    import maturin

    # maturin refuses a data directory that is not there.
    DATA.mkdir(exist_ok=True)
    try:
        return maturin.prepare_metadata_for_build_wheel(directory, config_settings)
    finally:
        shutil.rmtree(DATA, ignore_errors=True)


def build_wheel(directory: str, config_settings: Settings = None, metadata: str | None = None) -> str:
    """A wheel with the program and the plugins; its name."""
    import maturin

    build_plugins()
    try:
        return maturin.build_wheel(directory, config_settings, metadata)
    finally:
        shutil.rmtree(DATA, ignore_errors=True)


def build_sdist(directory: str, config_settings: Settings = None) -> str:
    """A source distribution of the workspace; its name. The same sources give the same bytes."""
    with tempfile.TemporaryDirectory() as scratch:
        info = Path(scratch) / prepare_metadata_for_build_wheel(scratch, config_settings)
        metadata = (info / "METADATA").read_bytes()
    fields = message_from_bytes(metadata)
    base = f"{fields['Name']}-{fields['Version']}"

    project = (Path.cwd() / "pyproject.toml").read_text()
    if HERE == Path.cwd():
        for old, new in MOVED.items():
            if project.count(old) != 1:
                sys.exit(f"error: pyproject.toml does not hold exactly once: {old}")
            project = project.replace(old, new)
    name = f"{base}.tar.gz"
    with open(Path(directory) / name, "wb") as file:
        with gzip.GzipFile(fileobj=file, mode="wb", mtime=0, filename="") as packed:
            with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
                _add(tar, f"{base}/PKG-INFO", metadata)
                _add(tar, f"{base}/pyproject.toml", project.encode())
                for path in _sources():
                    _add(tar, f"{base}/{path.relative_to(ROOT)}", path.read_bytes(), path.stat().st_mode)
    return name


def _sources() -> list[Path]:
    """Every file of a source distribution, in one order."""
    found: list[Path] = []
    for source in SOURCES:
        path = ROOT / source
        if path.is_file():
            found.append(path)
        for folder, folders, files in os.walk(path):
            folders[:] = sorted(set(folders) - LEFT_OUT)
            found += [Path(folder) / file for file in sorted(files)]
    return found


def _add(tar: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    entry.mode = 0o755 if mode & 0o100 else 0o644
    tar.addfile(entry, io.BytesIO(content))


if __name__ == "__main__":
    build_plugins()
