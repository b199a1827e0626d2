"""Validated, frozen configuration that everything in this package is described by."""

from __future__ import annotations

import pydantic


class Config(pydantic.BaseModel):
    """The base of every configuration: frozen, no unknown keys, finite numbers only."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
