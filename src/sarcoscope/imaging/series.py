"""From loose images to series that could be measured, and the reason for each that could not."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sarcoscope.files import packaged_rows
from sarcoscope.imaging.instances import CT_CLASSES, SECONDARY_CAPTURE, Instance, text_of
from sarcoscope.imaging.volume import SeriesInfo

_SAME_PLACE_MM: Final = 0.01
_AXIAL_COSINE: Final = 0.75
"""Slices whose normal leans less than 41 degrees from the long axis are axial (gantries tilt up to 30)."""
_MAP_WORDS: Final = re.compile(
    r"IODINE|\bVNC\b|VIRTUAL[ _-]?NON|MATERIAL|\bEFF(ECTIVE)?[ _]?(Z|ATOMIC)|ELECTRON[ _-]?DENSITY"
    r"|FAT[ _-]?MAP|PERFUSION|\bMAP\b|\bCBF\b|\bMTT\b",
    re.IGNORECASE,
)
_DOSE_WORDS: Final = ("DOSE", "PROTOCOL", "REPORT", "SCREEN")


@dataclass(frozen=True)
class RefusedSeries:
    """A series that was not taken, and why (``reason`` is a code with a sentence in both languages)."""

    uid: str
    description: str
    reason: str
    n_images: int


@dataclass(frozen=True)
class ReadFlag:
    """Something found while reading that the user must know; ``code`` is in the message catalogue."""

    code: str
    values: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, eq=False)
class Stack:
    """Images of one series that lie on one stack of axial slices, from inferior to superior."""

    instances: tuple[Instance, ...]
    offsets_mm: NDArray[np.float64]
    """[z] along the slice normal, ascending, from 0."""
    flags: tuple[ReadFlag, ...] = field(default_factory=tuple)

    @property
    def first(self) -> Instance:
        """The most inferior image."""
        return self.instances[0]

    @property
    def info(self) -> SeriesInfo:
        """What the header says of the series."""
        one = self.first
        return SeriesInfo(
            uid=one.series_uid or None,
            study_uid=one.study_uid or None,
            modality=one.modality or "CT",
            description=one.description,
            protocol_name=one.protocol,
            image_type=one.image_type,
            kernel=one.kernel,
            kvp=one.kvp,
            slice_thickness_mm=one.thickness,
            manufacturer=text_of(one.header, "Manufacturer") or None,
            contrast_agent=one.contrast,
            study_date=text_of(one.header, "StudyDate") or None,
            patient_position=text_of(one.header, "PatientPosition") or None,
        )


@cache
def refusal_texts() -> dict[str, dict[str, str]]:
    """Sentence of every refusal reason in both languages."""
    return {
        r["code"]: {"en": r["en"], "ko": r["ko"]}
        for r in packaged_rows("sarcoscope.imaging", "refusal_reasons")
    }


def find_stacks(instances: Iterable[Instance]) -> tuple[list[Stack], list[RefusedSeries]]:
    """Every stack that could be measured, and every other group with its reason."""
    stacks: list[Stack] = []
    refused: list[RefusedSeries] = []
    for group in _groups(instances):
        reason = _reason_against(group)
        if reason is not None:
            refused.append(RefusedSeries(group[0].series_uid, group[0].description, reason, len(group)))
            continue
        stacks += [_stack(part) for part in _without_doubles(group)]
    return stacks, refused


def _groups(instances: Iterable[Instance]) -> list[list[Instance]]:
    """Images of one series, grid and orientation; images without UIDs are told apart by folder and grid."""
    groups: dict[tuple[object, ...], list[Instance]] = {}
    for one in instances:
        series = one.series_uid or f"folder {one.path.parent}"
        orientation = tuple(round(v, 2) for v in one.orientation or ())
        spacing = tuple(round(v, 4) for v in one.spacing_yx or ())
        kind = "LOCALIZER" in one.image_type
        key = (series, one.modality, orientation, one.rows, one.columns, spacing, kind, one.kernel)
        groups.setdefault(key, []).append(one)
    return list(groups.values())


def _reason_against(group: Sequence[Instance]) -> str | None:
    one = group[0]
    words = f"{one.description} {' '.join(one.image_type)}".upper()
    if one.rows == 0 or one.columns == 0:
        return "no_image"
    if one.sop_class.startswith(SECONDARY_CAPTURE) or (one.modality in ("OT", "SC", "DOC")):
        return "secondary_capture"
    if one.modality != "CT" and one.sop_class not in CT_CLASSES:
        return "not_ct"
    if "LOCALIZER" in one.image_type or re.search(r"SCOUT|TOPOGRAM|LOCALI[ZS]ER|SURVIEW|SCANOGRAM", words):
        return "localiser"
    if one.samples != 1 or "MONOCHROME" not in (one.photometric or "MONOCHROME2"):
        return "secondary_capture" if any(w in words for w in _DOSE_WORDS) else "colour"
    if one.orientation is None or one.position is None or one.spacing_yx is None:
        return "no_geometry"
    if abs(slice_normal(one)[2]) < _AXIAL_COSINE:
        return "not_axial"
    if _MAP_WORDS.search(words.replace("\\", " ")):
        return "material_map"
    if one.rescale_type not in ("", "HU", "US"):
        return "not_hu"
    return None


def slice_normal(one: Instance) -> NDArray[np.float64]:
    """Unit normal (LPS) of an image with orientation, pointing from inferior to superior."""
    row, column = np.array(one.orientation or (1, 0, 0, 0, 1, 0)).reshape(2, 3)
    normal: NDArray[np.float64] = np.cross(row, column)
    length = float(np.linalg.norm(normal))
    if length < 1e-6:
        return np.array([0.0, 0.0, 0.0])
    normal = normal / length
    return normal if normal[2] >= 0 else -normal


def _places(group: Sequence[Instance]) -> NDArray[np.float64]:
    normal = slice_normal(group[0])
    return np.array([np.array(one.position or (0, 0, 0)) @ normal for one in group])


def _without_doubles(group: Sequence[Instance]) -> list[list[Instance]]:
    """Groups with one image a place: several acquisitions in one series are taken apart."""
    places = np.round(_places(group) / _SAME_PLACE_MM)
    if len(set(places)) == len(group):
        return [list(group)]
    parts: dict[str, list[Instance]] = {}
    for one in group:
        parts.setdefault(one.acquisition, []).append(one)
    if len(parts) > 1 and all(
        len(p) == len(set(np.round(_places(p) / _SAME_PLACE_MM))) for p in parts.values()
    ):
        return list(parts.values())
    return [list(group)]


def _stack(group: Sequence[Instance]) -> Stack:
    """Order along the normal; doubles and slices far off the stack are left out and flagged."""
    flags: list[ReadFlag] = []
    places = _places(group)
    order = sorted(range(len(group)), key=lambda k: (places[k], group[k].number, str(group[k].path)))
    kept: list[int] = []
    for k in order:
        if kept and places[k] - places[kept[-1]] < _SAME_PLACE_MM:
            continue
        kept.append(k)
    if len(kept) < len(order):
        flags.append(ReadFlag("doubled_slices", (("count", str(len(order) - len(kept))),)))
    held = places[kept]
    near = _main_run(held)
    if near.sum() < len(held):
        flags.append(ReadFlag("outlier_slice_dropped", (("count", str(int(len(held) - near.sum()))),)))
    chosen = [k for k, inside in zip(kept, near, strict=True) if inside]
    offsets = places[chosen] - places[chosen[0]]
    return Stack(tuple(group[k] for k in chosen), offsets, (*flags, *_spacing_flags(offsets)))


def _main_run(places: NDArray[np.float64]) -> NDArray[np.bool_]:
    """[z] False for a few slices that lie far from the rest (a bolus tracker's)."""
    if len(places) < 6:
        return np.ones(len(places), bool)
    steps = np.diff(places)
    far = steps > max(6.0 * float(np.median(steps)), 25.0)
    run = np.r_[0, np.cumsum(far)]
    sizes = np.bincount(run)
    if sizes.max() >= 0.8 * len(places):
        inside: NDArray[np.bool_] = run == sizes.argmax()
        return inside
    return np.ones(len(places), bool)


def _spacing_flags(offsets: NDArray[np.float64]) -> list[ReadFlag]:
    if len(offsets) < 3:
        return []
    steps = np.diff(offsets)
    usual = float(np.median(steps))
    gaps = steps > 1.5 * usual
    flags = []
    if gaps.any():
        missing = int(np.rint(steps[gaps] / usual - 1).sum())
        flags.append(ReadFlag("slice_gap", (("count", str(missing)), ("widest", f"{steps.max():.1f}"))))
    if (np.abs(steps[~gaps] - usual) > 0.1 * usual).any():
        flags.append(
            ReadFlag("uneven_spacing", (("low", f"{steps.min():.1f}"), ("high", f"{steps.max():.1f}")))
        )
    return flags
