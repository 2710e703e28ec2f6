"""Exceptions, one for each exit code of the program that is an error."""

from __future__ import annotations


class DsperseError(Exception):
    """The program failed.

    ``message`` says what is wrong, ``hint`` what to do next (or ``None``), ``exit_code`` is
    that of the program, ``log`` the last lines that it wrote to stderr.
    """

    def __init__(self, message: str, *, hint: str | None = None, exit_code: int = 1, log: str = "") -> None:
        super().__init__(message if hint is None else f"{message}\nhint: {hint}")
        self.message = message
        self.hint = hint
        self.exit_code = exit_code
        self.log = log


class FailedError(DsperseError):
    """A slice failed, or a policy was not met (exit code 1).

    A verification that is not accepted is no exception: it returns a
    :class:`dsperse.Verification` with ``accepted`` false.
    """


class UsageError(DsperseError):
    """An argument is wrong (exit code 2)."""


class BadInputError(DsperseError):
    """A model, a tensor file or a bundle can't be used (exit code 3)."""


class BackendError(DsperseError):
    """A backend or plugin could not be loaded (exit code 4)."""


class InterruptedRun(DsperseError):
    """The program was interrupted (exit code 130); what was finished is kept."""


class ProgramNotFound(DsperseError):
    """The ``dsperse`` program is not where it should be."""


_BY_EXIT_CODE: dict[int, type[DsperseError]] = {
    1: FailedError,
    2: UsageError,
    3: BadInputError,
    4: BackendError,
    130: InterruptedRun,
}


def error_for(exit_code: int, message: str, hint: str | None, log: str) -> DsperseError:
    """The exception that belongs to an exit code."""
    kind = _BY_EXIT_CODE.get(exit_code, DsperseError)
    return kind(message, hint=hint, exit_code=exit_code, log=log)
