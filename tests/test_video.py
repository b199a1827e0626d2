from __future__ import annotations

import pathlib
import subprocess
import sys
import textwrap

import imageio_ffmpeg
import numpy as np
import numpy.typing as npt
import pytest

from donkey_rl import cli
from donkey_rl.errors import InputError, StorageError
from donkey_rl.experiments import video
from donkey_rl.metrics.race import COLUMNS, Race, RaceHeader

SIZE = (320, 240)


def plain(colour: tuple[int, int, int], size: tuple[int, int] = SIZE) -> npt.NDArray[np.uint8]:
    return np.full((size[1], size[0], 3), colour, np.uint8)


def frames_of(path: pathlib.Path) -> tuple[str, npt.NDArray[np.uint8]]:
    """What FFmpeg says about a video file, and all its frames at `SIZE`."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", str(path), "-f", "rawvideo"]
    done = subprocess.run(
        [*command, "-pix_fmt", "rgb24", "-"], capture_output=True, check=True, timeout=300
    )
    stream = next(line for line in done.stderr.decode().splitlines() if "Video: " in line)
    return stream, np.frombuffer(done.stdout, np.uint8).reshape(-1, SIZE[1], SIZE[0], 3)


def race(rows: int = 10) -> Race:
    """A race over the line after 0.25 s, off the track from row 8 on."""
    header = RaceHeader(
        track="circle",
        track_length=100.0,
        nodes=50,
        start_line=0.0,
        start_line_progress=5.0,
        road_left=-5.0,
        road_right=5.0,
    )
    columns: dict[str, object] = {name: np.zeros(rows) for name in COLUMNS}
    columns |= {
        "time_s": np.arange(rows) * 0.05,
        "progress": np.arange(rows) * 1.0,
        "speed": np.full(rows, 20.0),
        "steering": np.full(rows, 0.5),
        "cte": np.full(rows, -0.25),
        "hit": np.full(rows, ""),
        "off_track": np.arange(rows) >= 8,
    }
    return Race(header, columns)


def test_a_video_shows_the_frames_in_order_at_their_rate(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "new" / "race.mp4"
    colours = [(200, 40, 40), (40, 200, 40), (40, 40, 200)]
    with video.VideoWriter(path, 20, SIZE) as writer:
        for colour in colours:
            for _ in range(10):
                writer.append(plain(colour))
        assert not path.exists()
    stream, frames = frames_of(path)
    for part in ("h264", "yuv420p", "320x240", " 20 fps"):
        assert part in stream
    assert len(frames) == 30
    for shown, colour in zip(frames[[5, 15, 25]], colours, strict=True):
        np.testing.assert_allclose(shown.mean(axis=(0, 1)), colour, atol=12)
    # Browsers start to play before the end has arrived: the index lies before the pictures.
    content = path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")
    assert [file.name for file in path.parent.iterdir()] == ["race.mp4"]


def test_after_an_error_the_old_video_stays(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "race.mp4"
    path.write_bytes(b"the old one")
    writer = video.VideoWriter(path, 20, SIZE)
    writer.append(plain((1, 2, 3)))
    with pytest.raises(KeyboardInterrupt), writer:
        raise KeyboardInterrupt
    assert path.read_bytes() == b"the old one"
    assert [file.name for file in tmp_path.iterdir()] == ["race.mp4"]


@pytest.mark.parametrize(
    ("fps", "size"), [(20, (641, 480)), (20, (640, 2)), (0, SIZE), (float("nan"), SIZE)]
)
def test_sizes_that_no_player_shows_are_refused(
    tmp_path: pathlib.Path, fps: float, size: tuple[int, int]
) -> None:
    with pytest.raises(InputError, match="even width and height"):
        video.VideoWriter(tmp_path / "race.mp4", fps, size)
    assert list(tmp_path.iterdir()) == []


def test_a_frame_of_another_shape_is_refused(tmp_path: pathlib.Path) -> None:
    writer = video.VideoWriter(tmp_path / "race.mp4", 20, SIZE)
    with pytest.raises(InputError, match=r"shape \(240, 320, 3\)"), writer:
        writer.append(plain((0, 0, 0), (160, 120)))
    assert list(tmp_path.iterdir()) == []


def test_a_video_without_frames_is_refused(tmp_path: pathlib.Path) -> None:
    writer = video.VideoWriter(tmp_path / "race.mp4", 20, SIZE)
    with pytest.raises(InputError, match="at least one frame"):
        writer.close()
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_folder_is_one_line(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(StorageError) as caught:
        video.VideoWriter(tmp_path / "file" / "race.mp4")
    assert "could not be written" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are POSIX")
def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: pathlib.Path) -> None:
    code = textwrap.dedent(
        """
        import resource, signal
        import numpy as np
        from donkey_rl.errors import StorageError
        from donkey_rl.experiments import video
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        rng = np.random.default_rng(0)
        try:
            with video.VideoWriter("race.mp4", 20, (320, 240)) as writer:
                for _ in range(200):
                    writer.append(rng.integers(0, 255, (240, 320, 3), np.uint8))
        except StorageError as error:
            print(error)
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert "The video race.mp4 could not be written" in done.stdout
    assert len(done.stdout.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_the_overlay_enlarges_and_draws() -> None:
    frame = np.zeros((120, 160, 3), np.uint8)
    frame[:, 80:] = 90
    bare = video.overlay(frame, video.Instruments())
    assert bare.shape == (480, 640, 3)
    assert bare.dtype == np.uint8
    np.testing.assert_array_equal(bare[300, 100], [0, 0, 0])
    np.testing.assert_array_equal(bare[300, 500], [90, 90, 90])
    drawn = video.overlay(frame, video.Instruments(lines=("lap 1",), alarm="off track"))
    assert (drawn[:60, :160] == 255).any()  # the text
    changed = (drawn != bare).any(axis=2)
    assert changed[:60].any()
    assert not changed[80:].any()


def bar(image: npt.NDArray[np.uint8], colour: tuple[int, int, int]) -> npt.NDArray[np.intp]:
    """Rows and columns of the pixels of this colour, shape (n, 2)."""
    return np.argwhere((image == np.array(colour)).all(axis=2))


def test_bars_show_sign_and_size() -> None:
    frame = np.zeros((120, 160, 3), np.uint8)
    sky, green, vermilion = (86, 180, 233), (0, 158, 115), (213, 94, 0)
    # 640 wide: zero at 320, full lock 160 away; 480 high: zero at 240, full throttle at 120.
    right = video.overlay(frame, video.Instruments(steering=0.5, throttle=1.0))
    assert bar(right, sky)[:, 1].min() >= 320
    assert bar(right, sky)[:, 1].max() == 400
    assert bar(right, green)[:, 0].min() == 120
    left = video.overlay(frame, video.Instruments(steering=-3.0, throttle=-0.5))
    assert bar(left, sky)[:, 1].min() == 160
    assert bar(left, sky)[:, 1].max() <= 320
    assert bar(left, vermilion)[:, 0].max() == 300
    assert len(bar(left, green)) == 0


def test_gray_frames_are_shown_and_other_shapes_refused() -> None:
    gray = video.overlay(np.full((120, 160, 1), 77, np.uint8), video.Instruments())
    np.testing.assert_array_equal(gray[300, 300], [77, 77, 77])
    for wrong in (np.zeros((120, 160), np.uint8), np.zeros((120, 160, 3), np.float32)):
        with pytest.raises(InputError, match=r"shape \(H, W, 3\)"):
            video.overlay(wrong, video.Instruments())


def test_instruments_follow_the_race() -> None:
    shown = list(video.instruments_of(race()))
    assert len(shown) == 10
    assert shown[4].lines == ("speed   20.0 u/s", "cte     -0.25 u", "start     0.20 s")
    # The line was crossed at 5 u, at 0.25 s; row 7 is at 0.35 s.
    assert shown[7].lines == ("speed   20.0 u/s", "cte     -0.25 u", "lap 1     0.10 s")
    assert [entry.alarm for entry in shown[7:]] == ["", "off track", "off track"]
    assert shown[0].steering == 0.5


def test_a_race_is_written_in_real_time(tmp_path: pathlib.Path) -> None:
    frames = (np.full((120, 160, 3), 20 * k, np.uint8) for k in range(10))
    path = video.write_race(tmp_path / "race.mp4", frames, race(), SIZE)
    stream, shown = frames_of(path)
    assert " 20 fps" in stream
    assert len(shown) == 10


@pytest.mark.parametrize("count", [9, 12])
def test_a_race_needs_a_frame_for_each_row(tmp_path: pathlib.Path, count: int) -> None:
    frames = [np.zeros((120, 160, 3), np.uint8)] * count
    with pytest.raises(InputError, match="one frame per row"):
        video.write_race(tmp_path / "race.mp4", frames, race(), SIZE)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def without_ffmpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> str:
        raise RuntimeError("No ffmpeg exe could be found.")

    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", missing)


@pytest.mark.usefixtures("without_ffmpeg")
def test_without_ffmpeg_the_remedy_is_named(tmp_path: pathlib.Path) -> None:
    with pytest.raises(video.NoEncoderError, match="IMAGEIO_FFMPEG_EXE"):
        video.VideoWriter(tmp_path / "race.mp4")
    assert list(tmp_path.iterdir()) == []


def test_a_program_that_cannot_run_leaves_no_draft(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", lambda: str(tmp_path / "none"))
    with pytest.raises(StorageError, match="could not be written"):
        video.VideoWriter(tmp_path / "race.mp4")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("without_ffmpeg")
def test_a_training_without_ffmpeg_keeps_its_races(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = (
        "cars=4", "encoder.frames=512", "encoder.epochs=1", "ppo.n_steps=16", "ppo.hidden=16,16",
        "imitation.expert=pursuit", "imitation.steps=256", "imitation.epochs=1",
        "evaluation.races=1", "task.time_limit_s=5",
    )  # fmt: skip
    words = ["train", "--agent", "ppo", "--steps", "0"]
    words += [word for setting in settings for word in ("--set", setting)]
    assert cli.main(words) == cli.SUCCESS
    assert "no video: A video needs the program FFmpeg" in capsys.readouterr().out
    kept = {path.name for path in tmp_path.rglob("evaluation*/*")}
    assert {"race_00.parquet", "result.json"} <= kept
    assert "race.mp4" not in kept
