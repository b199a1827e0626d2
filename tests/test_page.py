"""Pages that need nothing but themselves."""

from __future__ import annotations

import base64
import io
import pathlib

import numpy as np
import pytest
from PIL import Image

from donkey_rl.errors import InputError, StorageError
from donkey_rl.experiments import page
from tests.pages import Reader, assert_asks_for_nothing


def png(width: int = 64, height: int = 48, seed: int = 0) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 4, (height, width, 3)) * 60
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, "PNG", compress_level=0)
    return buffer.getvalue()


def test_page_is_whole_and_asks_for_nothing() -> None:
    sections = [
        page.Section("Laps", page.table(("driver", "lap (s)"), [("sac", 17.25)], "Laps")),
        page.Section("Laps", page.figure(png(), "A line.", "Seen from above.")),
        page.Section("Bill", page.facts({"energy": "12 Wh"}) + page.note("estimated")),
        page.Section("?", page.details("more", page.bullets(["one", "two"]))),
    ]
    markup = page.document("Two drivers", sections, lead=page.paragraph("In short."))
    read = Reader(markup)
    ids = [given["id"] for _, given in read.attributes if "id" in given]
    assert ids == ["laps", "laps--2", "bill", "section"]
    assert [link["href"] for link in read.all("a")] == [f"#{name}" for name in ids]
    assert [image["alt"] for image in read.all("img")] == ["A line."]
    assert read.all("html") == [{"lang": "en"}]
    assert_asks_for_nothing(markup)


def test_text_is_escaped_everywhere() -> None:
    evil = "<script>alert(\"1\")</script>' onload='x"
    sections = [
        page.Section(
            evil,
            page.paragraph(evil)
            + page.note(evil)
            + page.bullets([evil])
            + page.facts({evil: evil})
            + page.details(evil, "")
            + page.table((evil, evil), [(evil, evil)], evil)
            + page.figure(png(), evil, evil),
        )
    ]
    read = Reader(page.document(evil, sections))
    assert read.all("script") == []
    assert not any("onload" in given for _, given in read.attributes)
    assert read.all("img")[0]["alt"] == evil
    assert read.words.count(evil) == 15


def test_columns_of_numbers_stand_to_the_right() -> None:
    rows = [("3f2a", "17.25", "clean"), ("77b1", "-", "2 hits"), ("9c", "\N{MINUS SIGN}1.5", "x")]
    read = Reader(page.table(("run", "gain (s)", "laps"), rows))
    # The first column names the row; "-" is no value and does not count; "clean" is no number.
    assert [head.get("class") for head in read.all("th")[:3]] == [None, "number", None]
    assert [cell.get("class") for cell in read.all("td")] == ["number", None] * 3
    assert [head["scope"] for head in read.all("th")] == ["col"] * 3 + ["row"] * 3
    with pytest.raises(InputError, match=r"must have 2 cells.*Received: 1 cells, \['3f2a'\]"):
        page.table(("run", "gain"), [("3f2a",)])


def test_pictures_are_made_small_and_stay_what_they_are() -> None:
    # Three channels of four values are 64 colours: a palette of 256 holds them all.
    original = png(200, 100)
    read = Reader(page.figure(original, "Noise."))
    (image,) = read.all("img")
    assert (image["width"], image["height"]) == ("200", "100")
    stored = base64.b64decode((image["src"] or "").removeprefix("data:image/png;base64,"))
    # 3 bytes a pixel uncompressed, at most one in a palette.
    assert len(original) > 60_000
    assert len(stored) < 20_000
    before = np.array(Image.open(io.BytesIO(original)).convert("RGB"))
    after = np.array(Image.open(io.BytesIO(stored)).convert("RGB"))
    np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("data", [b"", b"GIF89a", png()[:60]])
def test_foreign_pictures_are_refused(data: bytes) -> None:
    with pytest.raises(InputError, match="must be a PNG file"):
        page.figure(data, "A line.")


def test_picture_needs_a_text_alternative() -> None:
    with pytest.raises(InputError, match="text alternative"):
        page.figure(png(), "  ")


def test_only_pages_of_ours_are_replaced(tmp_path: pathlib.Path) -> None:
    target = tmp_path / "new" / "page.html"
    first, second = (page.document(name, []) for name in ("first", "second"))
    assert page.save(target, first) == target
    page.save(target, second)
    assert target.read_text(encoding="utf-8") == second
    target.write_text("<title>somebody else's</title>")
    with pytest.raises(InputError, match=r"not a page of donkey-rl.*--force"):
        page.save(target, first)
    assert "somebody else's" in target.read_text()
    page.save(target, first, force=True)
    assert target.read_text(encoding="utf-8") == first
    assert list(target.parent.iterdir()) == [target]


def test_places_that_cannot_be_written(tmp_path: pathlib.Path) -> None:
    with pytest.raises(InputError, match=r"an \.html file. Received: '.*page\.txt'"):
        page.check_target(tmp_path / "page.txt")
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(InputError, match="Received the folder"):
        page.check_target(tmp_path / "folder.html", force=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="could not be written: File exists"):
        page.save(tmp_path / "file" / "page.html", "")


def test_only_long_words_are_given_room() -> None:
    """A rank needs none; eight letters of an id neither."""
    rows = [("1", "sac generated_track seed 0", "3f2a81c0"), ("2=", "pursuit", "x")]
    made = page.table(("rank", "run", "id"), rows)
    assert '<th scope="col">rank</th>' in made
    assert '<th scope="row">2=</th><td class="words">pursuit</td><td>x</td>' in made
