"""Standard error that work does not depend on.

What a training or a race says may have no reader any more: `tee` has ended by the same Ctrl-C, the
terminal is closed, the disk of the log is full. The work goes on, and nobody reads of it.
"""

from __future__ import annotations

import contextlib
import io
import sys


class _Patient(io.TextIOWrapper):
    """Drops what cannot be written."""

    def write(self, text: str) -> int:
        """Writes, or does not."""
        with contextlib.suppress(OSError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        """Writes what waits, or does not."""
        with contextlib.suppress(OSError):
            super().flush()


def make_patient() -> None:
    """Has `sys.stderr` drop what cannot be written, where it is Python's own."""
    stream = sys.stderr
    if type(stream) is io.TextIOWrapper:
        sys.stderr = _Patient(
            stream.buffer, stream.encoding, stream.errors, line_buffering=stream.line_buffering
        )
