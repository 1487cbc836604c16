"""Text burned into a picture: letters are small pieces of one very value, side by side on a line.

The noise of CT gives neighbouring pixels different values; what a scanner or workstation writes into the
picture has one. So every value that is far commoner than its neighbours is looked at alone, and its pieces
are tested for the size, fill and row-wise order of letters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_FEWEST_PIXELS: Final = 25
_FEWEST_SENSITIVE: Final = 15
_LARGEST_SHARE: Final = 0.08
_COMMONER: Final = 5.0
_MOST_VALUES: Final = 6
_LETTER_PX: Final = (5, 64)
"""Height of letters."""
_FEWEST_LETTERS: Final = 5
_FEWEST_PIECES: Final = 3
_FILL: Final = (0.12, 0.95)


@dataclass(frozen=True)
class _Piece:
    top: int
    bottom: int
    left: int
    right: int

    @property
    def height(self) -> int:
        return self.bottom - self.top


Box = tuple[int, int, int, int]
"""(top, bottom, left, right) in pixels."""


def find_text(picture: NDArray[Any], *, sensitive: bool = False) -> Box | None:
    """Where a line of letters stands in the picture; None when there is none.

    Args:
        picture: stored or HU values [row, column], or [row, column, colour].
        sensitive: also take the brightest pixels for letters: finds more, but metal and calcium with it, so
            ask for the same place on many slices (:func:`series_text`).
    """
    grey = np.asarray(picture if picture.ndim == 2 else picture[..., :3].max(axis=2))
    for mask in _masks(grey, sensitive):
        box = _line(_pieces(mask))
        if box is not None:
            return box
    return None


def series_text(boxes: Sequence[Box | None]) -> bool:
    """Text at one place on at least half of the slices of a series.

    Args:
        boxes: what :func:`find_text` (sensitive) answered for every slice that was looked at.
    """
    found = [b for b in boxes if b is not None]
    if len(found) * 2 < len(boxes) or not found:
        return False
    middle = [float(np.median(side)) for side in zip(*found, strict=True)]
    near = [
        b for b in found if b[0] < middle[1] and b[1] > middle[0] and b[2] < middle[3] and b[3] > middle[2]
    ]
    return len(near) * 2 >= len(boxes)


def _masks(grey: NDArray[Any], sensitive: bool) -> Iterator[NDArray[np.bool_]]:
    """Pixels of one value each: the values that are far commoner than those beside them."""
    low, high = int(grey.min()), int(grey.max())
    if high <= low or high - low > 200_000:
        return
    values = grey.astype(np.intp)
    values -= low
    counts = np.bincount(values.ravel()).astype(np.float64)
    around = ndimage.median_filter(counts, size=41, mode="nearest")
    most = _LARGEST_SHARE * grey.size
    fewest = _FEWEST_SENSITIVE if sensitive else _FEWEST_PIXELS
    common = (counts >= fewest) & (counts <= most) & (counts > _COMMONER * (around + 1.0))
    common[0] = False
    chosen = sorted((int(v) for v in np.flatnonzero(common)), key=lambda v: -counts[v])[:_MOST_VALUES]
    if sensitive:
        chosen = list(dict.fromkeys((*chosen, high - low)))
    ground = (int(np.median(grey[0])), int(np.median(grey[grey > low]))) if chosen else ()
    for value in chosen:
        written = low + value
        yield grey == written
        # Smoothed letters: their rims lie between the ground and the value.
        for under in ground:
            if written - under > 100:
                yield (grey > under + 0.45 * (written - under)) & (grey <= written)
    bright = grey >= high - (high - low) // 16
    if fewest <= bright.sum() <= most:
        yield bright


def _pieces(mask: NDArray[np.bool_]) -> list[_Piece]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return []
    mask = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    labels, count = ndimage.label(mask, np.ones((3, 3), int))
    if count > 20_000:
        return []
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    # Noise leaves thousands of specks: what has fewer pixels than a letter is high is no letter.
    large = sizes >= _LETTER_PX[0]
    large[0] = False
    numbers = np.flatnonzero(large)
    renumbered = np.zeros(count + 1, np.int32)
    renumbered[numbers] = np.arange(1, len(numbers) + 1)
    found = []
    for k, where in zip(numbers, ndimage.find_objects(renumbered[labels]), strict=True):
        (top, bottom), (left, right) = ((w.start, w.stop) for w in where)
        piece = _Piece(rows[0] + top, rows[0] + bottom, columns[0] + left, columns[0] + right)
        width = piece.right - piece.left
        fill = sizes[k] / (piece.height * width)
        if not _LETTER_PX[0] <= piece.height <= _LETTER_PX[1] or width > 4 * piece.height:
            continue
        if _FILL[0] <= fill <= _FILL[1] or width * 3 <= piece.height:
            found.append(piece)
    return found


def _line(pieces: list[_Piece]) -> Box | None:
    """The box of several pieces of about one height that follow each other on one line."""
    pieces = sorted(pieces, key=lambda p: p.left)
    for k, first in enumerate(pieces):
        height = first.height
        last, letters, count = first, _letters(first), 1
        for piece in pieces[k + 1 :]:
            gap = piece.left - last.right
            if gap > 2.2 * height:
                break
            # Slanted letters overlap a little.
            beside = gap >= -0.3 * height
            level = abs(piece.bottom - last.bottom) <= max(1, 0.25 * height)
            if beside and level and 0.7 <= piece.height / height <= 1.45:
                last, letters, count = piece, letters + _letters(piece), count + 1
        if count >= _FEWEST_PIECES and letters >= _FEWEST_LETTERS:
            return first.top, first.bottom, first.left, last.right
    return None


def _letters(piece: _Piece) -> int:
    """Letters in a piece: touching ones are one wide piece."""
    return max(1, round((piece.right - piece.left) / (0.75 * piece.height)))
