"""Why a level was named as it was."""

from __future__ import annotations

from typing import Any, Final, Literal

import numpy as np
from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from sarcoscope.errors import InputError, NotFoundError
from sarcoscope.models.registry import installed_packages
from sarcoscope.store.explained import explained, picture_of
from sarcoscope.store.results import result_of
from sarcoscope.store.volumes import open_volume
from sarcoscope.study.explain import SLICE_CLASSIFIERS, grad_cam
from sarcoscope.web.access import AccessDep, Number
from sarcoscope.web.routers.viewer import Index, check_slice

router = APIRouter(prefix="/studies/{number}", tags=["viewer"])
_PNG: Final[dict[int | str, dict[str, Any]]] = {200: {"content": {"image/png": {}}}}


class ModelName(BaseModel):
    """A model."""

    name: str
    version: str


class LevelExplanation(BaseModel):
    """What the deciding level model saw."""

    models: list[ModelName]
    as_decided: bool = Field(description="The stored result was made by these very models.")
    landmarks: list[str] = Field(description="Ends of the spine in view: Sacral, Cervical.")
    width: int = Field(description="Of the picture; 0: too little is in view to ask the model.")
    height: int
    slice_y: list[float] = Field(description="Row of the picture of every slice, slice 0 first.")
    classifiers: list[ModelName] = Field(description="Slice classifiers that have a Grad-CAM.")


class GradCamMap(BaseModel):
    """Where a slice classifier looked; no map where it does not share the decision."""

    model: ModelName
    index: int
    level: str = Field(description="What was decided for the slice.")
    named: str = Field(description="What the classifier takes it for.")
    share: float
    rows: int
    columns: int
    heat: list[int] | None = Field(description="0..255, row by row, over the whole slice.")
    on_spine: float | None = Field(description="Share of the attention on the spine.")
    by_chance: float | None = Field(description="What attention without aim would give.")


@router.get("/explanation")
def explain_levels(number: Number, access: AccessDep) -> LevelExplanation:
    """What the deciding level model saw (seconds at the first time)."""
    store = access.store
    with store.database.reading() as session:
        study = access.study(session, number)
        found, _ = explained(store, session, study)
        used = result_of(store, session, study.analysis_id or 0)["provenance"]["models"]
    access.audited("explain", study)
    known = {(m["name"], m["version"], m["sha256"]) for m in used}
    return LevelExplanation(
        models=[ModelName(name=name, version=version) for name, version, _ in found.models],
        as_decided=known.issuperset(found.models),
        landmarks=list(found.landmarks),
        width=found.size[0],
        height=found.size[1],
        slice_y=list(found.slice_y),
        classifiers=[
            ModelName(name=p.name, version=p.version)
            for p in installed_packages()
            if p.kind in SLICE_CLASSIFIERS
        ],
    )


@router.get("/evidence.png", response_class=Response, responses=_PNG)
def show_evidence(number: Number, access: AccessDep, lang: Literal["en", "ko"] = "en") -> Response:
    """The straightened spine as the model saw it, its answer on every row, and the decision."""
    with access.store.database.reading() as session:
        found, base = explained(access.store, session, access.study(session, number))
        if not found.slice_y:
            raise NotFoundError("Too little of the spine is in view: the level model was not asked.")
        content = picture_of(base, lang).read_bytes()
    return Response(content, media_type="image/png", headers={"Cache-Control": "private, no-store"})


@router.get("/grad-cam")
def show_grad_cam(number: Number, access: AccessDep, model: str, index: Index) -> GradCamMap:
    """Where a slice classifier looked on a slice."""
    store = access.store
    with store.database.reading() as session:
        study = access.study(session, number)
        volume = open_volume(store, session, study)
        check_slice(volume, index)
        package = next(
            (p for p in installed_packages() if p.name == model and p.kind in SLICE_CLASSIFIERS), None
        )
        if package is None:
            raise NotFoundError("No slice classifier of this name is installed.")
        levels = result_of(store, session, study.analysis_id or 0)["levels"]
        decided = next((r["level"] for r in levels if r["index_low"] <= index <= r["index_high"]), None)
        if decided is None:
            raise InputError("No level was named for this slice: there is nothing to explain.")
        spine = explained(store, session, study)[0].spine
    found = grad_cam(volume, package, index, decided=decided, spine=spine)
    heat = None if found.heat is None else np.rint(255 * found.heat).astype(int)
    return GradCamMap(
        model=ModelName(name=package.name, version=package.version),
        index=index,
        level=decided,
        named=found.named,
        share=round(found.share, 3),
        rows=0 if heat is None else heat.shape[0],
        columns=0 if heat is None else heat.shape[1],
        heat=None if heat is None else heat.ravel().tolist(),
        on_spine=found.attention.on_spine if found.attention else None,
        by_chance=found.attention.by_chance if found.attention else None,
    )
