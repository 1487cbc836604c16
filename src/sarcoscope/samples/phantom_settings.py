"""What a phantom is made of: settings a person can choose, and random ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from sarcoscope.anatomy.levels import LEVEL_INDEX
from sarcoscope.errors import SettingError

PHASES: Final = ("unenhanced", "arterial", "portal", "delayed")
"""Contrast phases that a phantom can show."""


@dataclass(frozen=True)
class PhantomSettings:
    """Everything that decides a phantom; the same settings give the same phantom, bit for bit.

    Raises :class:`~sarcoscope.errors.SettingError` when a value cannot be drawn.
    """

    seed: int = 0
    sex: str = "M"
    """``M`` or ``F``."""
    height_cm: float = 170.0
    """Scales vertebrae, discs and trunk."""
    muscle: float = 1.0
    """Thickness of every muscle against the standard build."""
    sat_mm: float = 18.0
    """Thickness of the subcutaneous fat at the waist."""
    vat_mm: float = 12.0
    """How far visceral fat pushes the abdominal wall forward and outward."""
    imat: float = 0.04
    """About this share of the muscle is streaked with fat (0..0.3)."""
    muscle_hu: float = 52.0
    """Mean HU of muscle without contrast."""
    lean: bool = False
    """Organs lie on the abdominal wall without the fat plane that divides them otherwise."""
    ascites: bool = False
    """Fluid instead of fat between the organs."""
    top_level: str = "T10"
    bottom_level: str = "Sacral"
    """The slices reach from ``bottom_level`` to ``top_level``, both included wholly."""
    margin_mm: float = 6.0
    """What is added above and below (negative: the outermost bodies are cut)."""
    slice_spacing_mm: float = 5.0
    slice_thickness_mm: float = 5.0
    through_plane_samples: int = 1
    """Planes averaged over the slice thickness (1: no partial volume through the slice)."""
    matrix: int = 512
    pixel_mm: float = 0.8
    noise_hu: float = 0.0
    """SD of the noise; 0 keeps every pixel inside its tissue's HU band."""
    blur_mm: float = 0.0
    """Sigma of the in-plane reconstruction kernel; 0 has no partial volume."""
    phase: str = "portal"
    table: bool = True
    arms_down: bool = False
    tilt_degrees: float = 0.0
    """Gantry tilt about the left-right axis; the table moves straight, the stack is sheared."""
    in_plane_degrees: float = 0.0
    """The image axes are turned by this angle in their plane."""
    roll_degrees: float = 0.0
    """The patient lies turned by this angle about the long axis."""
    offset_mm: tuple[float, float] = (0.0, 0.0)
    """How far (x, y) the patient lies off the centre of the picture."""
    lordosis: float = 1.0
    """Amplitude of the sagittal curve of the spine against the standard."""
    scoliosis_mm: float = 0.0
    """Amplitude of the lateral curve of the spine."""
    last_rib: float = 1.0
    """Length of the twelfth ribs against the standard (0: none)."""
    kvp: int = 120
    field_of_view_mm: float | None = None
    """Diameter of the reconstruction circle; outside it nothing is known (None: whole picture)."""
    metal: bool = False
    """A pair of screws in L4 with streaks."""

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn."""
        self._check(self.sex in ("M", "F"), "sex must be M or F", self.sex)
        self._check(self.phase in PHASES, f"phase must be one of {', '.join(PHASES)}", self.phase)
        known = self.top_level in LEVEL_INDEX and self.bottom_level in LEVEL_INDEX
        self._check(
            known, "levels must be Cervical, T1-T12, L1-L5 or Sacral", self.top_level, self.bottom_level
        )
        ordered = LEVEL_INDEX[self.top_level] <= LEVEL_INDEX[self.bottom_level]
        self._check(ordered, "top_level must not lie below bottom_level", self.top_level, self.bottom_level)
        for name, low, high in _RANGES:
            value = float(getattr(self, name))
            self._check(low <= value <= high, f"{name} must lie in {low:g}..{high:g}", value)

    @staticmethod
    def _check(right: bool, rule: str, *values: object) -> None:
        if not right:
            raise SettingError(f"The phantom cannot be made: {rule}, not {', '.join(map(str, values))}.")


_RANGES: Final = (
    ("height_cm", 120, 220),
    ("muscle", 0.4, 1.6),
    ("sat_mm", 2, 80),
    ("vat_mm", 0, 80),
    ("imat", 0, 0.3),
    ("muscle_hu", 0, 90),
    ("margin_mm", -20, 100),
    ("slice_spacing_mm", 0.3, 20),
    ("slice_thickness_mm", 0.3, 20),
    ("through_plane_samples", 1, 9),
    ("matrix", 64, 1024),
    ("pixel_mm", 0.3, 6),
    ("noise_hu", 0, 200),
    ("blur_mm", 0, 5),
    ("tilt_degrees", -30, 30),
    ("in_plane_degrees", -45, 45),
    ("roll_degrees", -45, 45),
    ("lordosis", 0, 1.6),
    ("scoliosis_mm", -40, 40),
    ("last_rib", 0, 1.5),
    ("kvp", 60, 150),
)


def random_settings(
    rng: np.random.Generator,
    *,
    matrix: int = 512,
    clean: bool = True,
    top_level: str = "",
    bottom_level: str = "",
) -> PhantomSettings:
    """Settings of a random person and scanner.

    ``clean`` leaves out noise, blur and partial volume, so that HU and true mask agree exactly. The levels in
    view are random unless they are given.
    """
    sex = "F" if rng.random() < 0.5 else "M"
    height = float(np.clip(rng.normal(172 if sex == "M" else 159, 8), 140, 200))
    obese = rng.random() < 0.2
    sat = float(rng.uniform(25, 50) if obese else rng.uniform(5, 25)) * (1.0 if sex == "M" else 1.2)
    vat = float(rng.uniform(15, 45) if obese else rng.uniform(0, 22))
    tops, bottoms = (
        ("Cervical", "T1", "T4", "T8", "T10", "T11", "T12"),
        ("Sacral", "Sacral", "L5", "L4", "L3"),
    )
    tilted, turned, curved = rng.random() < 0.1, rng.random() < 0.2, rng.random() < 0.2
    spacing = float(rng.choice([1.5, 2.0, 3.0, 5.0, 5.0, 8.0]))
    width_mm = 2 * (190 + sat) + vat
    return PhantomSettings(
        seed=int(rng.integers(2**31)),
        sex=sex,
        height_cm=round(height, 1),
        muscle=round(float(rng.uniform(0.7, 1.25)) * (1.0 if sex == "M" else 0.88), 3),
        sat_mm=round(sat, 1),
        vat_mm=round(vat, 1),
        imat=round(float(rng.uniform(0.01, 0.15)), 3),
        muscle_hu=round(float(rng.uniform(30, 60)), 1),
        lean=bool(rng.random() < 0.15),
        ascites=bool(rng.random() < 0.05),
        top_level=top_level or str(rng.choice(tops)),
        bottom_level=bottom_level or str(rng.choice(bottoms)),
        margin_mm=round(float(rng.uniform(2, 15)), 1),
        slice_spacing_mm=spacing,
        slice_thickness_mm=spacing,
        through_plane_samples=1 if clean else int(rng.integers(1, 4)),
        matrix=matrix,
        pixel_mm=round(max(float(rng.uniform(0.65, 0.95)) * 512 / matrix, width_mm / matrix), 4),
        noise_hu=0.0 if clean else round(float(rng.uniform(4, 25)), 1),
        blur_mm=0.0 if clean else round(float(rng.uniform(0.4, 1.0)), 2),
        phase=str(rng.choice(PHASES)),
        table=bool(rng.random() < 0.8),
        arms_down=bool(rng.random() < 0.15),
        tilt_degrees=round(float(rng.uniform(-15, 15)), 1) if tilted else 0.0,
        roll_degrees=round(float(rng.uniform(-10, 10)), 1) if turned else 0.0,
        offset_mm=(round(float(rng.normal(0, 8)), 1), round(float(rng.normal(0, 8)), 1)),
        lordosis=round(float(rng.uniform(0.6, 1.35)), 2),
        scoliosis_mm=round(float(rng.uniform(-20, 20)), 1) if curved else 0.0,
        last_rib=round(float(rng.uniform(0.5, 1.2)), 2),
        kvp=int(rng.choice([100, 120, 120, 120, 140])),
    )
