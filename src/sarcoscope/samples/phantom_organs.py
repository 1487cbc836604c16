"""Organs of the phantom: lungs, heart, vessels, liver, spleen, kidneys, stomach, bowel and bladder.

No organ is a measured tissue: all carry label 0, whatever their HU.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from sarcoscope.anatomy.tissues import Tissue
from sarcoscope.samples.phantom_anatomy import Anatomy
from sarcoscope.samples.phantom_canvas import Canvas, Mask, View, ellipse, ellipsoid
from sarcoscope.samples.phantom_trunk import VAT_HU, cavity_egg

GAS_HU: Final = -900.0
LUNG_HU: Final = -850.0
FLUID_HU: Final = 10.0
FAT_PLANE_MM: Final = 4.0
"""Fat between the abdominal wall and the organs, unless the person is lean."""

Point = tuple[float, float, float]


@dataclass(frozen=True)
class Blob:
    """An ellipsoid (mm from the spine's axis, z of the body) with an optional wall round its contents."""

    centre: Point
    radii: Point
    hu: float
    wall_mm: float = 0.0
    wall_hu: float = 0.0
    gas: float = 0.0
    """Share of the depth, from the front, that is gas."""
    label: int = Tissue.BACKGROUND

    def paint(self, canvas: Canvas, region: Mask) -> None:
        """Paint inside ``region`` [y, x]."""
        (x, y, z), (rx, ry, rz) = self.centre, self.radii
        if not canvas.meets(z - rz, z + rz):
            return
        view = canvas.view(x, y, rx, ry)
        if view is None:
            return
        allowed = region[view.rows, view.columns]
        canvas.fill(
            view,
            ellipsoid(view, self.centre, self.radii) & allowed,
            self.wall_hu if self.wall_mm else self.hu,
            self.label,
        )
        if self.wall_mm:
            inner = (rx - self.wall_mm, ry - self.wall_mm, rz - self.wall_mm)
            contents = ellipsoid(view, self.centre, inner) & allowed
            canvas.fill(view, contents, self.hu, self.label)
            if self.gas:
                canvas.fill(view, contents & (view.y < y - ry + 2 * ry * self.gas), GAS_HU, self.label)


class Organs:
    """The organs of one person, laid out once and painted on every slice."""

    def __init__(self, anatomy: Anatomy, rng: np.random.Generator) -> None:
        """Place the organs; ``rng`` decides their sizes and the loops of the bowel."""
        self.anatomy = anatomy
        self._size = anatomy.plane_scale * float(rng.uniform(0.92, 1.05))
        self._solid = self._solid_organs(rng)
        self._bowel = self._bowel_loops(rng)
        self._lung_vessels = rng.uniform(-1, 1, (60, 3))

    def paint(self, canvas: Canvas, cavity: Mask) -> None:
        """Paint the organs of belly and chest inside ``cavity`` [y, x]."""
        anatomy = self.anatomy
        region = cavity if anatomy.settings.lean else self._shrunk(canvas)
        if anatomy.settings.ascites:
            self._paint_ascites(canvas, cavity)
        for blob in (*self._bowel, *self._solid):
            blob.paint(canvas, region)
        self._paint_lungs(canvas, cavity)
        self._paint_vessels(canvas)

    def _shrunk(self, canvas: Canvas) -> Mask:
        gap = -FAT_PLANE_MM
        egg = cavity_egg(self.anatomy, canvas.body.z).grown(gap, gap, gap)
        return canvas.spread(egg.contains(canvas.body))

    def _paint_ascites(self, canvas: Canvas, cavity: Mask) -> None:
        if canvas.meets(self.anatomy.sacrum_low, self.anatomy.by_name["T11"].z_mid):
            view = canvas.body
            free = cavity[view.rows, view.columns] & (view.y < 10.0)
            canvas.fill(view, free & ~ellipse(view, 0, -35, 55, 30), FLUID_HU, 0)

    def _solid_organs(self, rng: np.random.Generator) -> list[Blob]:
        a, hu, k = self.anatomy, self.anatomy.hu, self._size
        wide = float(a.at("cavity_width", a.z_of("T11"))) / 124.0
        t11, t12, l1, l2 = (a.z_of(n) for n in ("T11", "T12", "L1", "L2"))
        right, left = (float(rng.uniform(-8, 8)) for _ in range(2))
        blobs = [
            Blob((-62 * wide, -48, t11), (66 * wide * k, 72 * k, 76 * k), hu["liver"]),
            Blob((-5, -88, t11 + 5), (68 * wide * k, 42 * k, 42 * k), hu["liver"]),
            Blob((98 * wide, -6, t11), (25 * k, 46 * k, 50 * k), hu["spleen"]),
            Blob(
                (52 * wide, -70, t12 + 5),
                (40 * k, 38 * k, 52 * k),
                25.0,
                4.0,
                hu["bowel_wall"],
                float(rng.uniform(0.1, 0.4)),
            ),
            Blob((-58 * wide, -70, l1), (15 * k, 18 * k, 24 * k), FLUID_HU),
            Blob((18 * wide, -52, l1 + 4), (46 * wide * k, 11 * k, 13 * k), 0.75 * hu["spleen"]),
        ]
        for side, shift in ((-1.0, right - 8.0), (1.0, left + 6.0)):
            centre = (side * 62 * wide, 4.0, (l1 + l2) / 2 + shift)
            blobs.append(Blob(centre, (26 * k, 24 * k, 54 * k), hu["medulla"], 7.0, hu["kidney"]))
            sinus = (centre[0] - side * 9, centre[1] - 5, centre[2])
            blobs.append(Blob(sinus, (10 * k, 8 * k, 20 * k), 5.0))
        s4, hip = a.z_of("S3") - 15, a.z_of("hip")
        blobs.append(Blob((0, -118, (s4 + hip) / 2 - 6), (36 * k, 27 * k, 36 * k), 8.0, 3.0, 40.0))
        blobs.append(Blob((0, -72, s4 - 8), (26 * k, 20 * k, 24 * k), 60.0))
        blobs.append(Blob((4, -38, s4), (17 * k, 15 * k, 46 * k), 30.0, 3.5, hu["bowel_wall"], 0.3))
        return blobs

    def _bowel_loops(self, rng: np.random.Generator) -> list[Blob]:
        a, wall, k = self.anatomy, self.anatomy.hu["bowel_wall"], self._size
        low, high = a.z_of("S3"), a.z_of("L1")
        oral = rng.random() < 0.25
        blobs = []
        for _ in range(90 if a.settings.lean else 60):
            z = float(rng.uniform(low, high))
            wide, front = float(a.at("cavity_width", z)), float(a.at("cavity_front", z))
            x, y = float(rng.uniform(-0.62, 0.62)) * wide, -float(rng.uniform(34, max(front - 16, 40)))
            radii = (
                float(rng.uniform(11, 19)) * k,
                float(rng.uniform(10, 16)) * k,
                float(rng.uniform(14, 30)),
            )
            contents = (
                float(rng.uniform(150, 350)) if oral and rng.random() < 0.6 else float(rng.uniform(8, 45))
            )
            blobs.append(Blob((x, y, z), radii, contents, 2.6, wall, 0.35 if rng.random() < 0.2 else 0.0))
        blobs += self._colon(rng)
        return blobs

    def _colon(self, rng: np.random.Generator) -> list[Blob]:
        a, wall, k = self.anatomy, self.anatomy.hu["bowel_wall"], self._size
        blobs = []
        for side, radius, low, high in (
            (-1.0, 24.0, a.z_of("S1"), a.z_of("L1")),
            (1.0, 17.0, a.z_of("S2"), a.z_of("T12")),
        ):
            for z in np.arange(low, high, 22.0):
                x = side * (float(a.at("cavity_width", z)) - radius * k - 5)
                r = radius * k * float(rng.uniform(0.85, 1.1))
                blobs.append(
                    Blob(
                        (x, -22.0, float(z)),
                        (r, r, 20.0),
                        35.0,
                        2.8,
                        wall,
                        float(rng.choice([0.0, 0.3, 0.55])),
                    )
                )
        for x in np.arange(-70, 75, 20.0):
            z = a.z_of("L2") - 0.004 * (70**2 - x**2)
            y = -float(a.at("cavity_front", z)) * (1 - (x / 125) ** 2) + 26.0
            blobs.append(
                Blob(
                    (float(x), y, z),
                    (18.0, 19 * k, 22 * k),
                    30.0,
                    2.8,
                    wall,
                    float(rng.choice([0.0, 0.4, 0.6])),
                )
            )
        return blobs

    def _paint_lungs(self, canvas: Canvas, cavity: Mask) -> None:
        a = self.anatomy
        top, crown = a.by_name["T1"].z_high, a.by_name["T10"].z_high
        if not canvas.meets(crown - 90, top):
            return
        view = canvas.body
        inner = cavity_egg(a, view.z).grown(-1.5, -1.5, -1.5).contains(view)
        from_dome = ((np.abs(view.x) - 62) / 62) ** 2 + ((view.y + 52) / 82) ** 2
        floor = crown - 58.0 * a.scale * from_dome
        apex = 1.0 - np.clip((view.z - a.by_name["T3"].z_low) / (top - a.by_name["T3"].z_low), 0.0, 1.0) ** 2
        reach = a.at("cavity_front", view.z) + 4.0
        beside = (view.x / 30.0) ** 2 + ((view.y + 0.5 * reach) / (0.5 * reach + 22.0)) ** 2 > 1.0
        lungs = (
            inner & beside & (np.abs(view.x) > 7.0) & (view.z > floor) & (np.abs(view.x) < 26 + 100 * apex)
        )
        canvas.fill(view, lungs, LUNG_HU, 0)
        self._paint_chest_organs(canvas, canvas.spread(lungs) & cavity)

    def _paint_chest_organs(self, canvas: Canvas, lungs: Mask) -> None:
        a, hu, k = self.anatomy, self.anatomy.hu, self._size
        lo, hi = a.z_of("T10"), a.z_of("T5")
        for u, v, w in self._lung_vessels:
            x, y, z = np.sign(u) * (30 + 70 * abs(u)), -45 + 60 * v, (lo + hi) / 2 + 70 * w
            r = 5.0 - 3.0 * abs(u)
            Blob((float(x), float(y), float(z)), (r, r, 4 * r), hu["heart"]).paint(canvas, lungs)
        middle = (a.z_of("T9") + a.z_of("T6")) / 2 - 6
        heart = (20.0, -82.0, middle)
        around = lungs | (canvas.labels == Tissue.VAT)
        Blob(heart, (62 * k, 48 * k, 56 * k), VAT_HU, label=Tissue.VAT).paint(canvas, around)
        Blob(heart, (58 * k, 44 * k, 52 * k), 40.0, 9.0, 60.0 + 0.3 * hu["heart"]).paint(canvas, around)
        Blob((22.0, -84.0, middle), (44 * k, 32 * k, 40 * k), hu["heart"]).paint(canvas, around)

    def _paint_vessels(self, canvas: Canvas) -> None:
        a, hu = self.anatomy, self.anatomy.hu
        z = float(np.mean(canvas.z_range))
        for tube in _TUBES:
            if a.z_of(tube.lowest) < z < a.z_of(tube.highest):
                _tube(canvas, tube.x, tube.y * a.plane_scale, tube.radius, hu.get(tube.filling, 45.0))
        if z > a.z_of("T5"):
            _tube(canvas, 0.0, -29.0 * a.plane_scale, 8.5, GAS_HU - 80)
        arch, fork = a.z_of("T4"), a.by_name["L4"].z_low
        if abs(z - arch) < 9:
            for share in np.linspace(0, 1, 7):
                _tube(canvas, -16 + 28 * share, -62 + 34 * share, 12.0, hu["aorta"])
        if a.z_of("hip") < z < fork:
            down = (fork - z) / (fork - a.z_of("S5"))
            for side in (-1.0, 1.0):
                x, y = side * (13 + 58 * down), -27 - 85 * down
                _tube(canvas, x, y, 5.5, hu["aorta"])
                _tube(canvas, x - side * 4, y + 11, 6.5, hu["cava"])


@dataclass(frozen=True)
class _Tube:
    """A vessel (or the windpipe) that runs along the spine between two heights."""

    lowest: str
    highest: str
    x: float
    y: float
    radius: float
    filling: str


_TUBES: Final = (
    _Tube("L4", "T12", 12.0, -28.0, 9.5, "aorta"),
    _Tube("T12", "T4", 12.0, -28.0, 11.5, "aorta"),
    _Tube("L5", "T9", -17.0, -27.0, 11.0, "cava"),
    _Tube("T8", "T4", -16.0, -62.0, 15.0, "aorta"),
    _Tube("T5", "top", 0.0, -29.0, 10.5, "windpipe wall"),
    _Tube("T4", "T1", -28.0, -46.0, 6.0, "aorta"),
    _Tube("T4", "T1", 26.0, -46.0, 6.0, "aorta"),
    _Tube("T4", "T1", -14.0, -46.0, 6.0, "aorta"),
    _Tube("T1", "top", -21.0, -32.0, 4.5, "aorta"),
    _Tube("T1", "top", 21.0, -32.0, 4.5, "aorta"),
    _Tube("T1", "top", -27.0, -30.0, 6.0, "cava"),
    _Tube("T1", "top", 27.0, -30.0, 6.0, "cava"),
)


def _tube(canvas: Canvas, x: float, y: float, radius: float, hu: float) -> None:
    view: View | None = canvas.view(x, y, radius, radius)
    if view is not None:
        canvas.fill(view, ellipse(view, x, y, radius, radius), hu, 0)
