"""Projects and centres by their codes, as requests name them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from sarcoscope.errors import NotFoundError
from sarcoscope.store.tables import Centre, Project, ProjectCentre
from sarcoscope.web.access import Access

Code = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$", examples=["default"])]
"""Code of a project or centre: small letters, digits, - and _."""


def place(session: Session, access: Access, project: str, centre: str, role: str) -> tuple[Project, Centre]:
    """A project and a centre of it, where the user has a role.

    Raises:
        NotFoundError: they are not there, or not the user's to see.
        AccessError: the role is too low.
    """
    found = session.execute(
        select(Project, Centre)
        .join(ProjectCentre, ProjectCentre.project_id == Project.id)
        .join(Centre, Centre.id == ProjectCentre.centre_id)
        .where(Project.code == project, Centre.code == centre)
    ).first()
    if found is None:
        raise NotFoundError("It is not there, or not yours to see.")
    access.require(found[0].id, found[1].id, role)
    return found[0], found[1]
