"""Progress: events for callbacks, and bars for terminals and notebooks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any


@dataclass(frozen=True)
class Event:
    """Something that happened while a command works.

    ``kind`` is one of ``stage_started``, ``asking``, ``started``, ``progress``, ``memory``,
    ``up_to_date``, ``fell_through``, ``finished``, ``failed``, ``log`` and ``warning``. Fields
    that a kind does not have are ``None``; ``data`` holds the event as it was sent.
    """

    kind: str
    stage: str | None
    slice: int | None
    backend: str | None
    fraction: float | None
    message: str | None
    data: dict[str, Any]

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Event:
        """An event from the program's line. Unknown kinds and fields are kept in ``data``."""
        message = data.get("message", data.get("reason", data.get("line")))
        return cls(
            kind=str(data.get("event", "")),
            stage=data.get("stage"),
            slice=data.get("slice"),
            backend=data.get("backend"),
            fraction=data.get("fraction"),
            message=None if message is None else str(message),
            data=data,
        )


Progress = Callable[[Event], None]


class ProgressBars:
    """A tqdm bar for each stage: ``dsperse.full_run(…, progress=dsperse.ProgressBars())``.

    Needs the package ``tqdm`` (``pip install "dsperse[progress]"``). Works in terminals and
    notebooks. Events come from one thread at a time.
    """

    def __init__(self, **options: Any) -> None:
        try:
            from tqdm.auto import tqdm
        except ImportError as error:
            raise ImportError('progress bars need tqdm: pip install "dsperse[progress]"') from error
        self._tqdm = tqdm
        self._options = options
        self._bar: Any = None

    def __enter__(self) -> ProgressBars:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __call__(self, event: Event) -> None:
        """Takes an event."""
        if event.kind == "stage_started":
            self.close()
            total = int(event.data.get("slices", 0))
            self._bar = self._tqdm(total=total, desc=event.stage or "", unit="slice", **self._options)
        elif event.kind in ("finished", "up_to_date", "failed") and self._bar is not None:
            self._bar.update(1)
            if self._bar.total is not None and self._bar.n >= self._bar.total:
                self.close()
        elif event.kind == "started" and self._bar is not None:
            self._bar.set_postfix_str(f"slice {event.slice}: {event.backend}", refresh=False)

    def close(self) -> None:
        """Ends the bar that is shown."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
