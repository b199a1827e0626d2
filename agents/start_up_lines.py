"""Lines that compiled libraries write when they start, held back."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator

_LINE = re.compile(
    rb"^(?:[IWE]\d{4} |\d{4}-\d\d-\d\d .*: [IWE] |WARNING: All log mess"
    rb"|INFO: Created TensorFlow Lite)"
)


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Passes on what is written to file descriptor 2, less the start-up lines."""
    sys.stderr.flush()
    try:
        real = os.dup(2)
    except OSError:
        yield
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(real, 2)
            os.close(real)
            held.seek(0)
            kept = b"".join(line for line in held if not _LINE.match(line))
            if kept:
                os.write(2, kept)
