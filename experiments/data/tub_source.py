"""What a row of an imported race carries of its tub, so that the tub can be written again.

The column `source` of the race's file holds one JSON object for each row:

```
{"records": [{"place": 17, "line": "{...}", "own": true},
             {"place": 18, "line": "{...}", "deleted": true, "images": {"18_cam...jpg": "..."}}],
 "tub": {...}}
```

`own` is the record of the row itself; its camera image is the row's picture. Beside it lie
records that are no rows of any race, such as deleted ones, whichever row they lie at; their
`place` says where in the tub they belong. Images are base64. The first row has `tub`, what the
tub says of itself.
"""

from __future__ import annotations

import base64
import binascii
import json
import reprlib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from donkey_rl.errors import InputError
from donkey_rl.experiments.data import tub
from donkey_rl.experiments.data.tub_manifest import IMAGE_KEY, Manifest


class Kept(NamedTuple):
    """A record of a tub as a race carries it.

    Attributes:
        place: Which it was of its tub.
        line: As it stood in its catalog.
        fields: The same, as JSON says it.
        images: The content of the files that it names, by name.
        deleted: Whether it was deleted.
    """

    place: int
    line: str
    fields: Mapping[str, Any]
    images: Mapping[str, bytes]
    deleted: bool


def encode(
    own: tub.Record, beside: Iterable[tub.Record], manifest: Manifest | None, picture: bool
) -> bytes:
    """Returns what a row carries.

    Args:
        own: The record of the row.
        beside: Further records that it is to carry.
        manifest: Of the tub, for the first row.
        picture: Whether the row has its record's camera image as its picture.
    """
    camera = own.fields.get(IMAGE_KEY) if picture else None
    records = [_encoded(own, leave_out=camera) | {"own": True}]
    records += [_encoded(record) for record in beside]
    content: dict[str, Any] = {"records": records}
    if manifest is not None:
        content["tub"] = manifest.kept()
    return json.dumps(content).encode()


def _encoded(record: tub.Record, leave_out: str | None = None) -> dict[str, Any]:
    encoded: dict[str, Any] = {"place": record.place, "line": record.line}
    if record.deleted:
        encoded["deleted"] = True
    images = {
        name: base64.b64encode(tub.content(file)).decode()
        for name, file in record.images.items()
        if name != leave_out
    }
    return encoded | ({"images": images} if images else {})


def decode(content: bytes, picture: bytes | None) -> tuple[list[Kept], Manifest | None]:
    """Reads what a row carries.

    Args:
        content: What `encode` returned.
        picture: The row's picture.

    Returns:
        The records, in no order, and the tub's manifest where the row has it.

    Raises:
        InputError: It is not what `encode` returns.
    """
    try:
        values = json.loads(content)
        manifest = Manifest.restored(values["tub"]) if "tub" in values else None
        return [_decoded(record, picture) for record in values["records"]], manifest
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            "A row's source must be that of a tub, as `donkey-rl data import` writes it. "
            f"Received: {reprlib.repr(content)} ({error})."
        ) from error


def _decoded(values: Mapping[str, Any], picture: bytes | None) -> Kept:
    """Reads one record.

    Raises:
        ValueError: It is none.
    """
    place, line = values["place"], values["line"]
    if type(place) is not int or not 0 <= place < 2**53 or not isinstance(line, str):
        raise ValueError(f"expected a record's place and line, received {reprlib.repr(values)}")
    if "\n" in line or "\r" in line:
        raise ValueError("expected one line for a record")
    fields = tub.parsed(f"{line}\n".encode())
    tub.check(fields)
    images = {}
    for name, encoded in values.get("images", {}).items():
        if not tub.is_image_name(name):
            raise ValueError(f"expected the name of an image, received {reprlib.repr(name)}")
        try:
            images[name] = base64.b64decode(encoded, validate=True)
        except binascii.Error as error:
            raise ValueError(f"image {reprlib.repr(name)} is no base64") from error
    camera = fields.get(IMAGE_KEY)
    if values.get("own") is True and picture is not None and camera not in images:
        if not tub.is_image_name(camera):
            raise ValueError(f"expected the name of an image, received {reprlib.repr(camera)}")
        images[camera] = picture
    return Kept(place, line, fields, images, values.get("deleted") is True)
