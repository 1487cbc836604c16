"""What tissue segmentation answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class TissueMask:
    """Tissue labels of chosen slices, on the volume's native pixel grid."""

    indices: tuple[int, ...]
    """Slice indices, ascending."""
    labels: NDArray[np.uint8]
    """[n, y, x] values of :class:`sarcoscope.anatomy.tissues.Tissue`; ``labels[k]``: slice ``indices[k]``."""
    body: NDArray[np.bool_]
    """[n, y, x] the person: table, arms and air around excluded."""
    doubt: tuple[float, ...] = ()
    """Per slice 0..1: share of the muscle border on which the engine is unsure (empty: not known)."""
    models: tuple[tuple[str, str, str], ...] = ()
    """(name, version, sha256) of every model that took part."""
    compartments: NDArray[np.uint8] | None = None
    """[n, y, x] values of :class:`sarcoscope.tissues.compartments.Compartment`; None: not known."""
    reader: str = ""
    """Who corrected it by hand; empty: nobody."""

    def slice_labels(self, index: int) -> NDArray[np.uint8]:
        """Labels [y, x] of one slice index; KeyError when that slice was not segmented."""
        try:
            labels: NDArray[np.uint8] = self.labels[self.indices.index(index)]
        except ValueError:
            raise KeyError(index) from None
        return labels
