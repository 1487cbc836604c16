"""Label masks from other tools: NIfTI and grey PNG files, and what their values mean."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from sarcoscope.errors import InputError, NotFoundError, UnreadableError

DEFAULT_VALUES: Final[Mapping[str, int]] = {"background": 0, "muscle": 1, "sat": 2, "vat": 3}
"""Tissue name -> our label value."""
OUR_VALUES: Final[Mapping[str, int]] = {**DEFAULT_VALUES, "imat": 4}
"""Values in masks that Sarcoscope wrote; IMAT counts as background where three tissues are compared."""
UNNAMED: Final = 255
"""Pixels whose value the map does not name."""


def read_grey(path: Path) -> NDArray[Any]:
    """Grey values [y, x] of a picture, uint8 or uint16.

    Raises:
        InputError: it cannot be read or has colours.
    """
    try:
        with Image.open(path) as picture:
            values = np.asarray(picture)
    except FileNotFoundError:
        raise NotFoundError(f"There is no picture '{path.name}'.") from None
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError) as error:
        raise UnreadableError(f"The picture '{path.name}' cannot be read.") from error
    if values.ndim != 2:
        raise InputError(f"The picture '{path.name}' has colours; grey values are needed.")
    return values.astype(np.uint16) if values.dtype.itemsize > 1 else values.astype(np.uint8)


def read_label_nifti(path: Path) -> NDArray[Any]:
    """Labels [z, y, x] of a NIfTI file, axes as in a volume (LPS, z from the feet up).

    Raises:
        InputError: it cannot be read.
    """
    if not path.exists():
        raise NotFoundError(f"There is no mask '{path.name}'.")
    try:
        image: Any = nib.load(path)
        image = nib.as_closest_canonical(image)
        values = np.asanyarray(image.dataobj)
    except (OSError, ValueError, EOFError, nib.filebasedimages.ImageFileError) as error:
        raise UnreadableError(f"The mask '{path.name}' cannot be read.") from error
    values = values.reshape(values.shape + (1,) * (3 - values.ndim))
    if values.ndim != 3:
        raise InputError(f"The mask '{path.name}' has {values.ndim} axes; two or three are needed.")
    return np.transpose(values[::-1, ::-1], (2, 1, 0))


def translate(values: NDArray[Any], names: Mapping[str, int], unnamed: int = UNNAMED) -> NDArray[np.uint8]:
    """Foreign label values as ours: 0 background (IMAT too), 1 muscle, 2 SAT, 3 VAT.

    Args:
        values: foreign labels of any shape.
        names: tissue name (of :data:`OUR_VALUES`) -> its foreign value.
        unnamed: what a value becomes that the map does not name.
    """
    out = np.full(values.shape, unnamed, np.uint8)
    for name, value in names.items():
        out[values == value] = DEFAULT_VALUES.get(name, 0)
    return out
