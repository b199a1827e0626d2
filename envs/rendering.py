"""What environments say of how they are drawn."""

from __future__ import annotations

from typing import Any, Final

METADATA: Final[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 20}
"""Of every environment; Gymnasium makes its other render modes of this one."""
