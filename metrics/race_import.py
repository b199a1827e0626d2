"""Race records of what was imported: with pictures, and with what each row was read from."""

from __future__ import annotations

import pathlib
from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa
from pyarrow import parquet

from donkey_rl.errors import InputError
from donkey_rl.metrics import race_file
from donkey_rl.metrics.race import Race

Contents = Iterable[bytes | None]

_GROUP_BYTES = 32 << 20
"""Rows are written in groups of about this size, well below what is read in one piece."""


def save(
    race: Race, path: pathlib.Path, sources: Contents, frames: Contents | None = None
) -> pathlib.Path:
    """Writes an imported race; a file of that name is replaced only once the new one is whole.

    Args:
        race: The race.
        path: The file.
        sources: What each row was read from, in the importer's own form; None for nothing.
            Taken from it a few rows at a time.
        frames: The picture of each row as a JPEG file, the same way.

    Raises:
        InputError: If they are fewer than the rows, or one row's are too large.
        StorageError: If the file cannot be written.
    """
    schema = race_file.schema(race.header, frames=frames is not None, sources=True)
    columns = race_file.values(race)
    extras = [sources] if frames is None else [frames, sources]
    # Pictures are compressed already.
    packing = {name: "zstd" if name == race_file.SOURCE else "snappy" for name in schema.names}
    with (
        race_file.replaced(path) as file,
        parquet.ParquetWriter(file, schema, compression=packing) as writer,
    ):
        for first, end, contents in _groups(len(race), extras):
            values = [*(column[first:end] for column in columns), *contents]
            arrays = [pa.array(v, field.type) for v, field in zip(values, schema, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
    return path


def _groups(
    rows: int, extras: Sequence[Contents]
) -> Iterator[tuple[int, int, list[list[bytes | None]]]]:
    """Yields rows in groups: the first, the one after the last, and each extra's contents."""
    following = zip(*extras, strict=True)
    first = size = 0
    kept: list[list[bytes | None]] = [[] for _ in extras]
    for row in range(rows):
        contents = next(following, None)
        if contents is None:
            raise InputError(f"An imported race has a source for each row. Received: {row}.")
        added = sum(len(content) for content in contents if content is not None)
        if added > race_file.MAX_GROUP_BYTES - _GROUP_BYTES:
            raise InputError(
                f"A row of a race record has at most {race_file.MAX_GROUP_BYTES - _GROUP_BYTES} "
                f"bytes. Received: {added} in row {row}."
            )
        for content, column in zip(contents, kept, strict=True):
            column.append(content)
        size += added
        if size >= _GROUP_BYTES:
            yield first, row + 1, kept
            first, size, kept = row + 1, 0, [[] for _ in extras]
    if first < rows:
        yield first, rows, kept
