"""Where exports go, and what lay there before."""

from __future__ import annotations

import pathlib

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
