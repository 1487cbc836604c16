"""Stored body values as the analysis takes them."""

from __future__ import annotations

from sarcoscope.measures.body_info import GivenBody
from sarcoscope.store.tables import BodyValues


def given_body(values: BodyValues | None) -> GivenBody:
    """What was typed or imported, as the analysis takes it."""
    if values is None:
        return GivenBody()
    return GivenBody(
        age_years=values.age_years,
        height_cm=values.height_cm,
        weight_kg=values.weight_kg,
        weight_date=values.day.isoformat() if values.day else None,
        dry_weight=values.dry,
    )
