"""The series policy: which of several CT series is measured, and why not each other one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from sarcoscope.errors import SettingError
from sarcoscope.imaging.kernels import is_sharp
from sarcoscope.imaging.phases import header_phase
from sarcoscope.imaging.series import RefusedSeries, Stack

_RULES: Final = {
    "kernel": "sharp_kernel",
    "phase": "other_phase",
    "primary": "derived",
    "thickness": "other_thickness",
    "slices": "fewer_slices",
}
"""Rules that a policy may order, and the reason that each gives."""


@dataclass(frozen=True)
class SeriesPolicy:
    """An order of rules, each of which prefers one series to another.

    ``kernel``: soft before sharp; ``phase``: order of ``phases``; ``primary``: original before derived;
    ``thickness``: nearest to the span ``thickness_mm``; ``slices``: most slices. A stack of fewer than
    ``least_slices`` is taken only where there is no larger one.
    """

    name: str
    order: tuple[str, ...]
    phases: tuple[str, ...]
    thickness_mm: tuple[float, float]
    least_slices: int

    @classmethod
    def load(cls, path: Path | None = None) -> SeriesPolicy:
        """Read a policy file (JSON); the shipped policy by default.

        Raises:
            SettingError: no readable policy, or a rule that is not known.
        """
        try:
            if path is None:
                text = files("sarcoscope.imaging").joinpath("data/default_policy.json").read_text("utf-8")
            else:
                text = path.read_text(encoding="utf-8")
            return cls._checked(json.loads(text))
        except (OSError, ValueError, KeyError, TypeError) as error:
            name = path.name if path else "default"
            raise SettingError(f"The series policy '{name}' cannot be read: {error}.") from error

    @classmethod
    def _checked(cls, raw: dict[str, Any]) -> SeriesPolicy:
        order = tuple(str(rule) for rule in raw["order"])
        unknown = [rule for rule in order if rule not in _RULES]
        if unknown:
            raise ValueError(f"unknown rule '{unknown[0]}' (rules: {', '.join(_RULES)})")
        low, high = (float(v) for v in raw["thickness_mm"])
        phases = tuple(str(p) for p in raw["phases"])
        return cls(str(raw.get("name", "own")), order, phases, (low, high), int(raw["least_slices"]))

    def choose(self, stacks: Sequence[Stack]) -> tuple[Stack, list[RefusedSeries]]:
        """The stack to measure, and every other one with the first rule that speaks against it."""
        most = max(len(s.instances) for s in stacks)
        large = [s for s in stacks if len(s.instances) >= min(self.least_slices, most)]
        best = min(large, key=lambda s: [self._rank(s, rule) for rule in self.order])
        refused = []
        for stack in stacks:
            if stack is not best:
                reason = "too_few_slices" if all(stack is not s for s in large) else self._reason(stack, best)
                one = stack.first
                refused.append(RefusedSeries(one.series_uid, one.description, reason, len(stack.instances)))
        return best, refused

    def _reason(self, stack: Stack, best: Stack) -> str:
        for rule in self.order:
            if self._rank(stack, rule) > self._rank(best, rule):
                return _RULES[rule]
        return "fewer_slices"

    def _rank(self, stack: Stack, rule: str) -> float:
        """Lower is better."""
        if rule == "kernel":
            return float(is_sharp(stack.first.kernel))
        if rule == "phase":
            phase = header_phase(stack.info)[0]
            return float(self.phases.index(phase) if phase in self.phases else len(self.phases))
        if rule == "primary":
            return float(any(w in stack.first.image_type for w in ("DERIVED", "SECONDARY")))
        if rule == "thickness":
            thickness = stack.first.thickness or 0.0
            low, high = self.thickness_mm
            return max(low - thickness, thickness - high, 0.0)
        return -float(len(stack.instances))
