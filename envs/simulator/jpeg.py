"""What JPEG takes away from an image: blocks of 8 by 8, coarse colour, quantised waves.

The simulator sends its images as JPEG. Here an image goes through the lossy half of it and back:
luminance and halved chroma, the cosine transform of each block, quantisation with the standard
tables, and the same in reverse; the lossless coding in between changes nothing and is left out.
The steps follow libjpeg, its smoothing when the chroma is enlarged included.

A strip of eight image rows is transformed at once: down the columns, many columns in one
instruction, then along the blocks. The transform is that of Arai, Agui and Nakajima (1988), whose
scale factors are part of the quantisation.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

ROW = 528
"""Row length of all buffers: a constant lets the compiler see that rows do not overlap."""

_EXACT_SUMS = {"nnan", "ninf", "nsz", "arcp", "contract"}
_ROUNDING = np.float32(1.5 * 2**23)
"""Added and taken away again, it rounds to whole numbers; no shortcut may drop it."""

_LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61), (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56), (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77), (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101), (72, 92, 95, 98, 112, 100, 103, 99),
)  # fmt: skip
_CHROMA = (
    (17, 18, 24, 47, 99, 99, 99, 99), (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99), (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8 for _ in range(4)),
)  # fmt: skip
"""The example tables of the standard (ITU-T T.81, annex K)."""


def steps(quality: int) -> npt.NDArray[np.int64]:
    """Returns the quantisation steps of libjpeg at a quality of 1 to 100.

    Returns:
        Shape (2, 8, 8): of luminance and chroma, vertical by horizontal frequency.
    """
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    tables = np.array([_LUMINANCE, _CHROMA], dtype=np.int64)
    return np.clip((tables * scale + 50) // 100, 1, 255)


def factors(quality: int) -> npt.NDArray[np.float32]:
    """Returns what coefficients are multiplied by, before rounding and after it.

    Returns:
        Shape (2, 2, 8, 8): luminance and chroma; before and after; the frequencies.
    """
    waves = np.arange(8)
    scale = np.where(waves == 0, 1.0, math.sqrt(2.0) * np.cos(waves * math.pi / 16.0))
    whole = 8.0 * scale[:, None] * scale
    step = steps(quality)
    return np.stack([1.0 / (step * whole), step * whole / 64.0], axis=1).astype(np.float32)


ALL_FACTORS = np.stack([factors(max(1, quality)) for quality in range(101)])
"""`factors` of each quality from 0 (as 1) to 100, shape (101, 2, 2, 8, 8)."""


@njit(cache=True, fastmath=True, inline="always")
def _forward(a, b, c, d, e, f, g, h):  # type: ignore[no-untyped-def]
    """The cosine transform of eight values, but for its scale."""
    half = np.float32(0.70710678)
    s0, s1, s2, s3 = a + h, b + g, c + f, d + e
    d0, d1, d2, d3 = a - h, b - g, c - f, d - e
    p0, p1, p2, p3 = s0 + s3, s1 + s2, s1 - s2, s0 - s3
    z1 = (p2 + p3) * half
    q0, q1, q2 = d3 + d2, d2 + d1, d1 + d0
    z5 = (q0 - q2) * np.float32(0.38268343)
    z2 = np.float32(0.54119610) * q0 + z5
    z4 = np.float32(1.30656296) * q2 + z5
    z3 = q1 * half
    z11, z13 = d0 + z3, d0 - z3
    return p0 + p1, z11 + z4, p3 + z1, z13 - z2, p0 - p1, z13 + z2, p3 - z1, z11 - z4


@njit(cache=True, fastmath=True, inline="always")
def _backward(a, b, c, d, e, f, g, h):  # type: ignore[no-untyped-def]
    """The inverse of `_forward`, but for its scale."""
    t10, t11 = a + e, a - e
    t13 = c + g
    t12 = (c - g) * np.float32(1.41421356) - t13
    e0, e3, e1, e2 = t10 + t13, t10 - t13, t11 + t12, t11 - t12
    z13, z10, z11, z12 = f + d, f - d, b + h, b - h
    o7 = z11 + z13
    o11 = (z11 - z13) * np.float32(1.41421356)
    z5 = (z10 + z12) * np.float32(1.84775907)
    o10 = z5 - z12 * np.float32(1.08239220)
    o12 = z5 - z10 * np.float32(2.61312593)
    o6 = o12 - o7
    o5 = o11 - o6
    o4 = o10 - o5
    return e0 + o7, e1 + o6, e2 + o5, e3 + o4, e3 - o4, e2 - o5, e1 - o6, e0 - o7


@njit(cache=True, fastmath=True)
def _down(strip: Any, width: int) -> None:
    """Transforms the columns of a strip, shape (8 * ROW,), in place."""
    for k in range(width):
        values = _forward(
            strip[k], strip[k + ROW], strip[k + 2 * ROW], strip[k + 3 * ROW],
            strip[k + 4 * ROW], strip[k + 5 * ROW], strip[k + 6 * ROW], strip[k + 7 * ROW],
        )  # fmt: skip
        strip[k], strip[k + ROW], strip[k + 2 * ROW], strip[k + 3 * ROW] = values[:4]
        strip[k + 4 * ROW], strip[k + 5 * ROW] = values[4:6]
        strip[k + 6 * ROW], strip[k + 7 * ROW] = values[6:]


@njit(cache=True, fastmath=True)
def _up(strip: Any, width: int) -> None:
    """Transforms the columns of a strip back, in place."""
    for k in range(width):
        values = _backward(
            strip[k], strip[k + ROW], strip[k + 2 * ROW], strip[k + 3 * ROW],
            strip[k + 4 * ROW], strip[k + 5 * ROW], strip[k + 6 * ROW], strip[k + 7 * ROW],
        )  # fmt: skip
        strip[k], strip[k + ROW], strip[k + 2 * ROW], strip[k + 3 * ROW] = values[:4]
        strip[k + 4 * ROW], strip[k + 5 * ROW] = values[4:6]
        strip[k + 6 * ROW], strip[k + 7 * ROW] = values[6:]


@njit(cache=True, fastmath=_EXACT_SUMS, inline="always")
def _quantised(value, before, after):  # type: ignore[no-untyped-def]
    """A coefficient rounded to a whole number of steps."""
    whole = (value * before + _ROUNDING) - _ROUNDING
    return whole * after


@njit(cache=True, fastmath=_EXACT_SUMS)
def _quantise(strip: Any, blocks: int, table: Any) -> None:
    """Transforms the rows of a strip's blocks, quantises them and transforms them back.

    Args:
        strip: Shape (8 * ROW,), its columns transformed; changed in place.
        blocks: How many blocks it holds.
        table: `factors` of the channel, shape (2, 8, 8).
    """
    for i in range(8):
        q, r = table[0, i], table[1, i]
        q0, q1, q2, q3, q4, q5, q6, q7 = q[0], q[1], q[2], q[3], q[4], q[5], q[6], q[7]
        r0, r1, r2, r3, r4, r5, r6, r7 = r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7]
        for block in range(blocks):
            k = i * ROW + 8 * block
            a, b, c, d, e, f, g, h = _forward(
                strip[k], strip[k + 1], strip[k + 2], strip[k + 3],
                strip[k + 4], strip[k + 5], strip[k + 6], strip[k + 7],
            )  # fmt: skip
            a, b, c, d, e, f, g, h = _backward(
                _quantised(a, q0, r0), _quantised(b, q1, r1), _quantised(c, q2, r2),
                _quantised(d, q3, r3), _quantised(e, q4, r4), _quantised(f, q5, r5),
                _quantised(g, q6, r6), _quantised(h, q7, r7),
            )  # fmt: skip
            strip[k], strip[k + 1], strip[k + 2], strip[k + 3] = a, b, c, d
            strip[k + 4], strip[k + 5], strip[k + 6], strip[k + 7] = e, f, g, h


@njit(cache=True)
def _store(strip: Any, width: int, plane: Any) -> None:
    """Rounds the values of a strip, less 128, to the bytes of a plane."""
    low, high, middle = np.float32(0.0), np.float32(255.0), np.float32(128.5)
    for i in range(8):
        for k in range(width):
            value = strip[i * ROW + k] + middle
            value = high if value > high else value
            value = low if value < low else value
            plane[i * ROW + k] = np.uint8(np.int32(value))


@njit(cache=True)
def _transform(strip, blocks, table, plane):  # type: ignore[no-untyped-def]
    """Takes a strip of one channel there and back.

    Args:
        strip: Shape (8 * ROW,), values less 128; overwritten.
        blocks: How many blocks it holds.
        table: `factors` of the channel, shape (2, 8, 8).
        plane: The eight rows to fill in, shape (>= 8 * ROW,) uint8.
    """
    _down(strip, 8 * blocks)
    _quantise(strip, blocks, table)
    _up(strip, 8 * blocks)
    _store(strip, 8 * blocks, plane)


@njit(cache=True)
def _split(upper, lower, bright_upper, bright_lower, blue, red):  # type: ignore[no-untyped-def]
    """Turns two rows of an image into two of luminance and one of each chroma, less 128.

    Args:
        upper: Shape (3 w,) uint8, w even.
        lower: The next row.
        bright_upper: Luminance of the upper row, shape (w,), filled in.
        bright_lower: Luminance of the lower row.
        blue: Chroma, shape (w / 2,), filled in.
        red: The other chroma.
    """
    half, bits, middle = np.int32(1 << 15), np.int32(16), np.int32(128)
    red_part, green_part, blue_part = np.int32(19595), np.int32(38470), np.int32(7471)
    for k in range(blue.shape[0]):
        i = 6 * k
        r0, g0, b0 = np.int32(upper[i]), np.int32(upper[i + 1]), np.int32(upper[i + 2])
        r1, g1, b1 = np.int32(upper[i + 3]), np.int32(upper[i + 4]), np.int32(upper[i + 5])
        r2, g2, b2 = np.int32(lower[i]), np.int32(lower[i + 1]), np.int32(lower[i + 2])
        r3, g3, b3 = np.int32(lower[i + 3]), np.int32(lower[i + 4]), np.int32(lower[i + 5])
        y0 = (red_part * r0 + green_part * g0 + blue_part * b0 + half) >> bits
        y1 = (red_part * r1 + green_part * g1 + blue_part * b1 + half) >> bits
        y2 = (red_part * r2 + green_part * g2 + blue_part * b2 + half) >> bits
        y3 = (red_part * r3 + green_part * g3 + blue_part * b3 + half) >> bits
        bright_upper[2 * k], bright_upper[2 * k + 1] = (
            np.float32(y0 - middle),
            np.float32(y1 - middle),
        )
        bright_lower[2 * k], bright_lower[2 * k + 1] = (
            np.float32(y2 - middle),
            np.float32(y3 - middle),
        )
        r, g, b = r0 + r1 + r2 + r3, g0 + g1 + g2 + g3, b0 + b1 + b2 + b3
        u = np.int32(32768) * b - np.int32(11059) * r - np.int32(21709) * g
        v = np.int32(32768) * r - np.int32(27439) * g - np.int32(5329) * b
        blue[k] = np.float32((u + np.int32(1 << 17)) >> np.int32(18))
        red[k] = np.float32((v + np.int32(1 << 17)) >> np.int32(18))


@njit(cache=True)
def _repeat_last(row: Any, width: int) -> None:
    """Fills a row up with the last of its first `width` values."""
    for k in range(width, row.shape[0]):
        row[k] = row[width - 1]


@njit(cache=True)
def _encode(image, table, planes):  # type: ignore[no-untyped-def]
    """Takes an image there and back, up to the planes of luminance and chroma.

    Args:
        image: Shape (h, w, 3) uint8, w even.
        table: `factors`, shape (2, 2, 8, 8).
        planes: See `room`, filled in.
    """
    height, width = image.shape[:2]
    padded = (width + 15) // 16 * 16
    bright = np.empty((2, 8 * ROW), dtype=np.float32)
    blue, red = np.empty(8 * ROW, dtype=np.float32), np.empty(8 * ROW, dtype=np.float32)
    for top in range(0, height, 16):
        for pair in range(8):
            upper = image[min(top + 2 * pair, height - 1)].reshape(-1)
            lower = image[min(top + 2 * pair + 1, height - 1)].reshape(-1)
            start, half = 2 * pair % 8 * ROW, pair * ROW
            rows = bright[pair // 4]
            first, second = rows[start : start + padded], rows[start + ROW : start + ROW + padded]
            u, v = blue[half : half + padded // 2], red[half : half + padded // 2]
            _split(upper, lower, first, second, u[: width // 2], v[: width // 2])
            if width < padded:
                _repeat_last(first, width)
                _repeat_last(second, width)
                _repeat_last(u, width // 2)
                _repeat_last(v, width // 2)
        start = top * ROW
        _transform(bright[0], padded // 8, table[0], planes[0][start:])
        if top + 8 < height:
            _transform(bright[1], padded // 8, table[0], planes[0][start + 8 * ROW :])
        _transform(blue, padded // 16, table[1], planes[1][start // 2 :])
        _transform(red, padded // 16, table[1], planes[2][start // 2 :])


@njit(cache=True)
def _spread(out: Any, plane: Any, count: int) -> None:
    """Enlarges a row of chroma to twice its width, its values to four times theirs.

    Each value is three parts of the nearer sample and one of the farther.
    """
    out[0] = np.int32(4) * np.int32(plane[0])
    for k in range(count - 1):
        here, then = np.int32(plane[k]), np.int32(plane[k + 1])
        out[2 * k + 1] = np.int32(3) * here + then
        out[2 * k + 2] = here + np.int32(3) * then
    out[2 * count - 1] = np.int32(4) * np.int32(plane[count - 1])


@njit(cache=True)
def _join(row, luminance, blue, red):  # type: ignore[no-untyped-def]
    """Turns luminance and chroma back into a row of an image.

    Args:
        row: Shape (3 w,) uint8, filled in.
        luminance: Shape (>= w,) uint8.
        blue: The nearer and the farther row of the chroma, see `_spread`.
        red: The same of the other chroma.
    """
    half, bits, low, high = np.int32(32768), np.int32(16), np.int32(0), np.int32(255)
    blue_near, blue_far, red_near, red_far = blue[0], blue[1], red[0], red[1]
    for k in range(row.shape[0] // 3):
        bias = np.int32(8) - np.int32(k & 1)
        u = ((np.int32(3) * blue_near[k] + blue_far[k] + bias) >> np.int32(4)) - np.int32(128)
        v = ((np.int32(3) * red_near[k] + red_far[k] + bias) >> np.int32(4)) - np.int32(128)
        y = np.int32(luminance[k])
        r = y + ((np.int32(91881) * v + half) >> bits)
        g = y + ((half - np.int32(22554) * u - np.int32(46802) * v) >> bits)
        b = y + ((np.int32(116130) * u + half) >> bits)
        row[3 * k] = np.uint8(min(high, max(low, r)))
        row[3 * k + 1] = np.uint8(min(high, max(low, g)))
        row[3 * k + 2] = np.uint8(min(high, max(low, b)))


@njit(cache=True)
def room(height):  # type: ignore[no-untyped-def]
    """Allocates the planes of luminance and both chromas of images of a height."""
    rows = (height + 15) // 16 * 16
    return (
        np.empty(rows * ROW, dtype=np.uint8),
        np.empty(rows // 2 * ROW, dtype=np.uint8),
        np.empty(rows // 2 * ROW, dtype=np.uint8),
    )


@njit(cache=True)
def _degrade_even(image, table, planes):  # type: ignore[no-untyped-def]
    """See `degrade`; the width is even."""
    height, width = image.shape[:2]
    _encode(image, table, planes)
    last = (height + 1) // 2 - 1
    blue, red = np.empty((3, ROW), dtype=np.int32), np.empty((3, ROW), dtype=np.int32)
    spread = 0
    for r in range(height):
        near = r // 2
        far = min(last, max(0, near + 2 * (r % 2) - 1))
        while spread <= max(near, far):
            _spread(blue[spread % 3], planes[1][spread * ROW :], width // 2)
            _spread(red[spread % 3], planes[2][spread * ROW :], width // 2)
            spread += 1
        u, v = (blue[near % 3], blue[far % 3]), (red[near % 3], red[far % 3])
        _join(image[r].reshape(-1), planes[0][r * ROW : r * ROW + width], u, v)


@njit(cache=True)
def degrade(image, table, planes):  # type: ignore[no-untyped-def]
    """Puts an image through JPEG.

    Args:
        image: Shape (h, w, 3) uint8, w <= 512, changed in place.
        table: The entry of `ALL_FACTORS` of its quality.
        planes: See `room`.
    """
    height, width = image.shape[:2]
    if width % 2 == 0:
        _degrade_even(image, table, planes)
        return
    wider = np.empty((height, width + 1, 3), dtype=np.uint8)
    wider[:, :width], wider[:, width] = image, image[:, width - 1]
    _degrade_even(wider, table, planes)
    image[:] = wider[:, :width]
