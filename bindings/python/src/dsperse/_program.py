"""Finds and runs the ``dsperse`` program."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ._errors import DsperseError, ProgramNotFound, error_for

#: How many lines of stderr an exception carries.
_LOG_LINES = 50

Listener = Callable[[dict[str, Any]], None]


def find_program() -> Path:
    """The program that this package runs.

    Looks at the environment variable ``DSPERSE_PROGRAM``, then where the wheel put it, then
    on ``PATH``.

    Raises :class:`ProgramNotFound` when there is none.
    """
    name = "dsperse.exe" if sys.platform == "win32" else "dsperse"
    asked = os.environ.get("DSPERSE_PROGRAM")
    if asked:
        if Path(asked).is_file():
            return Path(asked)
        raise ProgramNotFound(
            f'DSPERSE_PROGRAM names "{asked}", which is no file',
            hint="unset it, or let it name the dsperse program",
        )
    schemes = ["scripts"]
    places = [Path(sysconfig.get_path(s)) / name for s in schemes]
    places.append(Path(sysconfig.get_path("scripts", sysconfig.get_preferred_scheme("user"))) / name)
    # "pip install --target DIR" puts programs into DIR/bin, beside the package.
    places.append(Path(__file__).resolve().parents[1] / "bin" / name)
    for place in places:
        if place.is_file():
            return place
    found = shutil.which(name)
    if found is not None:
        return Path(found)
    raise ProgramNotFound(
        "the dsperse program was not found",
        hint="install the wheel again, or let DSPERSE_PROGRAM name the program",
    )


def call(arguments: Sequence[str], *, listener: Listener | None = None, accept: Sequence[int] = (0,)) -> dict[str, Any]:
    """Runs a command with ``--json`` and returns its document.

    ``listener`` receives every progress event as a dictionary, in a thread of its own.
    ``accept`` lists the exit codes that come with a result. Everything else raises.
    A keyboard interrupt is passed on to the program, which ends its workers and keeps what
    is finished.
    """
    command = [str(find_program()), "--json", "--no-input", "--progress", "json", *arguments]
    log: deque[str] = deque(maxlen=_LOG_LINES)
    # A process group of its own: a Ctrl-C in a terminal would reach it twice otherwise.
    group: dict[str, Any] = {} if sys.platform == "win32" else {"start_new_session": True}
    failure: list[BaseException] = []
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="replace",
        **group,
    ) as process:

        def drain() -> None:
            assert process.stderr is not None
            for line in process.stderr:
                event = _event(line)
                if event is None:
                    log.append(line.rstrip("\n"))
                elif listener is not None and not failure:
                    try:
                        listener(event)
                    except BaseException as error:  # handed to the caller below
                        failure.append(error)
                        _stop(process)

        reader = threading.Thread(target=drain, name="dsperse-events", daemon=True)
        reader.start()
        try:
            assert process.stdout is not None
            output = process.stdout.read()
            exit_code = process.wait()
        except BaseException:
            _stop(process)
            process.wait()
            raise
        finally:
            reader.join()
    if failure:
        raise failure[0]
    return _result(output, exit_code, "\n".join(log), accept)


def _stop(process: subprocess.Popen[str]) -> None:
    """Interrupts the program as Ctrl-C would."""
    try:
        if sys.platform == "win32":
            process.terminate()
        else:
            process.send_signal(signal.SIGINT)
    except ProcessLookupError:
        pass


def _event(line: str) -> dict[str, Any] | None:
    if not line.startswith('{"event":'):
        return None
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None


def _result(output: str, exit_code: int, log: str, accept: Sequence[int]) -> dict[str, Any]:
    document: Any = None
    if output.strip():
        try:
            document = json.loads(output)
        except ValueError as error:
            raise DsperseError(
                f"the program answered with something that is not JSON: {error}",
                hint="is DSPERSE_PROGRAM of the same version as this package?",
                exit_code=exit_code,
                log=log,
            ) from None
    if isinstance(document, dict):
        problem = document.get("error")
        if isinstance(problem, dict):
            hint = problem.get("hint")
            raise error_for(exit_code, str(problem.get("message", "")), None if hint is None else str(hint), log)
        if exit_code in accept:
            return document
    last = log.strip().splitlines()[-1] if log.strip() else ""
    ended = f"signal {-exit_code}" if exit_code < 0 else f"exit code {exit_code}"
    raise error_for(exit_code, f"dsperse ended with {ended}" + (f": {last}" if last else ""), None, log)
