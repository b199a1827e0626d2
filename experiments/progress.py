"""Shows on standard error how far long work has come: bars on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn
from rich.table import Column

from donkey_rl import formatting

DRAW_INTERVAL_S = 0.1
LINE_INTERVAL_S = 10.0
SPEED_WINDOW_S = 10.0

Value = float | int | str | None


class ProgressDisplay:
    """The progress of a run, one phase at a time.

    Example:
        ```python
        with ProgressDisplay() as display:
            with display.phase("training", total=100_000) as phase:
                phase.update(2_500, best_lap_s=21.4)
        ```

    A phase may be opened inside another one, as an evaluation is inside training.
    """

    def __init__(
        self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Prepares the display; nothing is written before the first phase or message.

        Args:
            stream: Where to write. Defaults to standard error.
            clock: Returns seconds.
        """
        self._console = Console(file=stream or sys.stderr, highlight=False, markup=False)
        self._clock = clock
        self._open: list[Phase] = []
        self._bars: Progress | None = None

    @property
    def is_interactive(self) -> bool:
        """Whether bars are drawn; False for a file, a pipe or a terminal that cannot."""
        return self._console.is_terminal and not self._console.is_dumb_terminal

    def __enter__(self) -> ProgressDisplay:
        """Returns the display itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Takes down what is still drawn, so that the terminal is whole again."""
        self._open.clear()
        self._stop()

    def phase(self, name: str, total: int | None, unit: str = "steps") -> Phase:
        """Returns a phase; it is shown between its `__enter__` and `__exit__`.

        Args:
            name: What is being done, such as `"training"`.
            total: How many units make it complete; None if that is not known.
            unit: What is counted; empty where nothing is.
        """
        return Phase(self, name, total, unit)

    def message(self, text: str) -> None:
        """Writes one line that stays, above the bars."""
        self._console.print(formatting.printable(text), soft_wrap=True)

    def _start(self, phase: Phase) -> None:
        self._open.append(phase)
        if not self.is_interactive:
            return
        if self._bars is None:
            self._bars = Progress(
                SpinnerColumn(finished_text=" "),
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=20),
                TextColumn("{task.fields[status]}", markup=False, table_column=Column(ratio=1)),
                console=self._console,
                auto_refresh=False,
                redirect_stdout=False,
                expand=True,
            )
            self._bars.start()
        phase.bar = self._bars.add_task(phase.name, total=phase.total, status="")

    def _draw(self, phase: Phase, text: str) -> None:
        if self._bars is not None and phase.bar is not None:
            self._bars.update(phase.bar, completed=phase.done, status=text)
            self._bars.refresh()
        elif not self.is_interactive:
            self.message(f"{phase.name}: {text}")

    def _end(self, phase: Phase) -> None:
        if phase not in self._open:
            return
        self._open.remove(phase)
        if self._open and self._bars is not None and phase.bar is not None:
            self._bars.remove_task(phase.bar)
        if not self._open:
            self._stop()

    def _stop(self) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars = None


class Phase:
    """One stretch of work that is counted from nought to its total.

    Attributes:
        name: What is being done.
        total: How many units make it complete, or None.
        done: How many are done.
        bar: The bar of the terminal, once there is one.
    """

    def __init__(
        self, display: ProgressDisplay, name: str, total: int | None, unit: str = "steps"
    ) -> None:
        """Made by `ProgressDisplay.phase`."""
        self.name = name
        self.total = total
        self.done = 0
        self.bar: TaskID | None = None
        self._display = display
        self._unit = unit
        self._clock = display._clock
        self._fields: dict[str, Value] = {}
        self._samples: deque[tuple[float, int]] = deque()
        self._started = self._drawn = self._clock()
        self._shown = False

    def __enter__(self) -> Phase:
        """Shows the phase."""
        self._started = self._clock()
        self._drawn = float("-inf") if self._display.is_interactive else self._started
        self._samples.append((self._started, 0))
        self._display._start(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Shows the last state and closes the phase."""
        now = self._clock()
        self._samples = deque([(self._started, 0), (now, self.done)])
        # What failed before anything was done or shown is said by its error alone.
        if error is None or self.done or self._shown:
            self._display._draw(self, self._status(f"{duration(now - self._started)} taken"))
        self._display._end(self)

    def update(self, done: int, **fields: Value) -> None:
        """Says how far the phase has come; cheap enough to call at every step.

        Args:
            done: Units done since the start of the phase.
            **fields: What else to show, such as `best_lap_s=17.4`. A name that ends in `_s` is
                in seconds; None hides a field.
        """
        self.done = done
        self._fields.update(fields)
        now = self._clock()
        interval = DRAW_INTERVAL_S if self._display.is_interactive else LINE_INTERVAL_S
        if now - self._drawn < interval:
            return
        self._drawn = now
        self._shown = True
        self._samples.append((now, done))
        while len(self._samples) > 2 and now - self._samples[0][0] > SPEED_WINDOW_S:
            self._samples.popleft()
        self._display._draw(self, self._status(self._time_left()))

    def _speed(self) -> float:
        """Returns units per second over the last seconds."""
        (start, before), (end, after) = self._samples[0], self._samples[-1]
        return (after - before) / (end - start) if end > start else 0.0

    def _time_left(self) -> str:
        speed = self._speed()
        if self.total is None or speed <= 0.0:
            return ""
        return f"{duration(max(0, self.total - self.done) / speed)} left"

    def _status(self, time_text: str) -> str:
        count = f"{self.done:,}" if self.total is None else f"{self.done:,}/{self.total:,}"
        parts = [f"{count} {self._unit}"] if self._unit else []
        if self._unit and (speed := self._speed()) > 0.0:
            parts.append(f"{speed:,.0f}/s" if speed >= 10 else f"{speed:.1f}/s")
        for name, value in self._fields.items():
            if value is not None:
                parts.append(_field(name, value))
        return ", ".join([*parts, time_text] if time_text else parts)


def duration(seconds: float) -> str:
    """Writes a time span as minutes and seconds, with hours if it has any.

    >>> duration(75.4), duration(3 * 3600 + 62)
    ('1:15', '3:01:02')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _field(name: str, value: float | int | str) -> str:
    label = name.removesuffix("_s").replace("_", " ")
    shown = f"{value:.2f}" if isinstance(value, float) else str(value)
    return f"{label} {shown} s" if name.endswith("_s") else f"{label} {shown}"
