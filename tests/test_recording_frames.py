"""The frames of a recording: where they lie, what is shown, and what is never opened."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from donkey_rl.envs.recordings import frames, recording
from donkey_rl.envs.recordings.recording import Recording
from donkey_rl.envs.simulator.camera import CameraConfig
from donkey_rl.errors import InputError
from tests import synthetic_recordings as synthetic
from tests.synthetic_recordings import read_csv, read_one


def save_image(file: pathlib.Path, width: int = 8, height: int = 6, **options: Any) -> None:
    file.parent.mkdir(exist_ok=True)
    colours = np.arange(height * width * 3, dtype=np.uint8).reshape(height, width, 3)
    Image.fromarray(colours).save(file, **options)


def test_jpeg_frames_of_any_size(tmp_path: pathlib.Path) -> None:
    camera = CameraConfig(img_w=40, img_h=30)
    own = synthetic.drive(seconds=0.1, track="waveshare", camera=camera)
    found = read_one(synthetic.write_csv(own, tmp_path))
    assert found.frame_size() == (30, 40)
    _, images = found.images([0])
    assert own.images is not None
    error = np.abs(images[0].astype(float) - own.images[0])
    assert 0.0 < error.mean() < 12.0


def with_frames(folder: pathlib.Path, *names: str) -> Recording:
    lines = "".join(f"{name},{k}\n" for k, name in enumerate(names))
    return read_csv(folder, "frame,speed\n" + lines)


def test_frames_lie_in_their_folder_or_beside_the_file(tmp_path: pathlib.Path) -> None:
    save_image(tmp_path / "frames" / "0.png")
    save_image(tmp_path / "1.png")
    (tmp_path / "part").mkdir()
    save_image(tmp_path / "part" / "2.png")
    found = with_frames(tmp_path, "0.png", "1.png", "part/2.png", "")
    expected = [tmp_path / "frames" / "0.png", tmp_path / "1.png", tmp_path / "part" / "2.png"]
    assert found.frames == (*expected, None)
    assert found.notes[-1].startswith("Not recorded")


def test_missing_frames_are_counted(tmp_path: pathlib.Path) -> None:
    save_image(tmp_path / "frames" / "0.png")
    (tmp_path / "frames" / "folder.png").mkdir()
    found = with_frames(tmp_path, "0.png", "1.png", "folder.png", "2.png")
    assert [frame is not None for frame in found.frames] == [True, False, False, False]
    assert found.notes[-1] == "3 frames missing on disk, first '1.png'."


@pytest.mark.parametrize(
    "name", ["../0.png", "/etc/0.png", "C:\\0.png", "a/../../0.png", "\\\\host\\0.png", "..", "."]
)
def test_frames_outside_the_folder_are_not_used(name: str, tmp_path: pathlib.Path) -> None:
    save_image(tmp_path / "0.png")
    folder = tmp_path / "inner"
    folder.mkdir()
    found = with_frames(folder, name)
    assert found.frames == (None,)
    assert any("leads out of the folder: not used, first" in note for note in found.notes)
    assert found.speed.tolist() == [0.0]


def test_images_keeps_what_it_can_show(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "frames"
    (tmp_path / "frames").mkdir()
    (folder / "bad.png").write_bytes(b"no image")
    save_image(folder / "good.png")
    save_image(folder / "also.png")
    (folder / "cut.png").write_bytes((folder / "good.png").read_bytes()[:45])
    save_image(folder / "other.png", width=9)
    save_image(folder / "plain.gif")
    Image.fromarray(np.full((6, 8), 7, dtype=np.uint8)).save(folder / "gray.png")
    names = ["bad.png", "good.png", "cut.png", "also.png", "other.png", "plain.gif", "gray.png"]
    found = with_frames(tmp_path, *names, "", "missing.png")
    assert found.frame_size() == (6, 8)
    kept, images = found.images([8, 7, 6, 5, 4, 3, 2, 1, 0, 3])
    assert kept.tolist() == [6, 3, 1, 3]
    assert images.shape == (4, 6, 8, 3)
    assert images.dtype == np.uint8
    assert (images[0] == 7).all()
    assert images[1, 0, :2].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_a_recording_without_frames_has_no_images(tmp_path: pathlib.Path) -> None:
    found = read_csv(tmp_path, "frame,speed\n,1\n")
    assert found.frame_size() is None
    kept, images = found.images([0])
    assert (len(kept), images.shape) == (0, (0, 0, 0, 3))


def test_too_large_frames_are_not_decoded(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGB", (frames.MAX_SIDE + 1, 1)).save(tmp_path / "wide.png")
    Image.new("RGB", (frames.MAX_SIDE, 1)).save(tmp_path / "fits.png")
    assert frames.read(tmp_path / "wide.png") is None
    assert frames.read(tmp_path / "fits.png") is not None
    # Pillow itself warns of more than 89 million pixels: no warning gets out.
    Image.new("1", (12_000, 12_000)).save(tmp_path / "bomb.png")
    assert frames.read(tmp_path / "bomb.png") is None
    size = (tmp_path / "fits.png").stat().st_size
    monkeypatch.setattr(frames, "MAX_BYTES", size - 1)
    assert frames.read(tmp_path / "fits.png") is None
    assert frames.read(tmp_path) is None
    assert frames.read(tmp_path / "nothing.png") is None


def test_damaged_frames_are_never_an_error(tmp_path: pathlib.Path) -> None:
    rng = np.random.default_rng(5)
    for suffix in (".jpg", ".png"):
        save_image(tmp_path / f"good{suffix}", 32, 24)
        whole = (tmp_path / f"good{suffix}").read_bytes()
        bad = tmp_path / f"bad{suffix}"
        for _ in range(150):
            content = bytearray(whole[: rng.integers(1, len(whole) + 1)])
            for place in rng.integers(0, len(content), size=3):
                content[place] = rng.integers(256)
            bad.write_bytes(content)
            image = frames.read(bad)
            assert image is None or image.ndim == 3


def test_images_are_handed_out_in_parts(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_image(tmp_path / "0.png")
    found = with_frames(tmp_path, "0.png")
    # Two images of 6 x 8 x 3 bytes.
    monkeypatch.setattr(recording, "_MAX_IMAGE_BYTES", 288)
    assert len(found.images([0, 0])[0]) == 2
    with pytest.raises(InputError, match=r"at most 2 frames of 8 x 6.*Received: 3\. Ask for"):
        found.images([0, 0, 0])
