"""Where exports go, and what lay there before."""

from __future__ import annotations

import pathlib
import types

import pytest

from donkey_rl.errors import InputError
from donkey_rl.experiments.deployment import export as exports


def test_models_of_an_earlier_driver_do_not_stay_beside(tmp_path: pathlib.Path) -> None:
    for number, names in enumerate((("linear", "memory"), ("linear",))):
        drafts = tmp_path / f"{number}"
        drafts.mkdir()
        for name in names:
            (drafts / f"{name}.tflite").write_bytes(bytes([number]))
        exports._moved(drafts, tmp_path / "car", None)
    (left,) = (tmp_path / "car").iterdir()
    assert (left.name, left.read_bytes()) == ("linear.tflite", b"\x01")


def test_only_a_drivers_own_folder_is_refused(tmp_path: pathlib.Path) -> None:
    entrant = types.SimpleNamespace(run_id="3f2a9c01" * 4, hash="")
    (tmp_path / "manifest.json").write_text("{}")

    def place(output: str, to: str = "litert") -> object:
        asked = types.SimpleNamespace(output=tmp_path / output, to=to)
        return exports._place(asked, entrant)  # type: ignore[arg-type]

    # A folder in it changes nothing of a driver, nor of a tub.
    assert place("rl") == (tmp_path / "rl", None)
    assert place("rl", "donkeycar") == (tmp_path / "rl", None)
    for output in (".", "one.tflite"):
        with pytest.raises(InputError, match=r"with a manifest\.json"):
            place(output)
