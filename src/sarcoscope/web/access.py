"""Who asks, and what they may see and do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import Depends, Path, Request
from sqlalchemy import ColumnElement, Select, and_, false, or_, select
from sqlalchemy.orm import Session

from sarcoscope.errors import AccessError, NotFoundError
from sarcoscope.store.accounts import Signed, of_session, of_token
from sarcoscope.store.store import Store
from sarcoscope.store.tables import (
    ROLES,
    Audit,
    Membership,
    ProjectCentre,
    ReaderStudy,
    ReaderTask,
    Study,
    User,
)
from sarcoscope.web.problems import SignInNeededError

COOKIE: Final = "sarcoscope"
CSRF_HEADER: Final = "X-CSRF-Token"
_SAFE: Final = ("GET", "HEAD", "OPTIONS")
_MUST_CHANGE_PATHS: Final = ("/api/v1/me", "/api/v1/me/password", "/api/v1/session")
Number = Annotated[int, Path(ge=1, le=2**31 - 1, examples=[1])]
"""Number of a row, in a path."""
RANK: Final[Mapping[str, int]] = {role: n for n, role in enumerate(ROLES)}


def store_of(request: Request) -> Store:
    """The application's store."""
    store: Store = request.app.state.store
    return store


StoreDep = Annotated[Store, Depends(store_of)]


def signed(request: Request, store: StoreDep) -> Signed:
    """Who asks.

    Raises:
        SignInNeededError: nobody, or the session is over.
        AccessError: the CSRF token is missing, or the one-time password must be changed first.
    """
    bearer = request.headers.get("Authorization", "")
    if bearer.startswith("Bearer "):
        found = of_token(store.database, bearer[7:])
    else:
        cookie = request.cookies.get(COOKIE)
        found = of_session(store.database, cookie) if cookie else None
    if found is None:
        raise SignInNeededError("Sign in first.")
    changing = request.method not in _SAFE
    if changing and found.csrf is not None and request.headers.get(CSRF_HEADER) != found.csrf:
        raise AccessError("The page is out of date: load it again.")
    if found.user.must_change and request.url.path not in _MUST_CHANGE_PATHS:
        raise AccessError("Change your one-time password first.")
    return found


SignedDep = Annotated[Signed, Depends(signed)]


@dataclass(frozen=True)
class Access:
    """The rights of who asks."""

    store: Store
    user: User
    roles: Mapping[tuple[int, int], str]
    """(project, centre) -> role, where the user is a member."""
    shared: frozenset[tuple[int, int]]
    """(project, centre) whose studies a member of another centre of the project may see."""
    mappings: frozenset[tuple[int, int]]
    address: str
    reads_blind: bool
    """The user still has to read some studies blind."""

    def rank(self, project_id: int, centre_id: int) -> int:
        """The rank of the user's role for a centre's data in a project; -1: none."""
        role = self.roles.get((project_id, centre_id))
        if role is not None:
            return RANK[role]
        return RANK["viewer"] if (project_id, centre_id) in self.shared else -1

    def require(self, project_id: int, centre_id: int, role: str) -> None:
        """See that the user has at least a role.

        Raises:
            NotFoundError: the user may not even know of it.
            AccessError: the role is too low.
        """
        rank = self.rank(project_id, centre_id)
        if rank < 0:
            raise NotFoundError("It is not there, or not yours to see.")
        if rank < RANK[role]:
            raise AccessError(f"This needs the role of a {role}.")

    def require_administrator(self) -> None:
        """See that the user manages the installation.

        Raises:
            AccessError: they do not.
        """
        if not self.user.administrator:
            raise AccessError("This needs an administrator of the installation.")

    def require_mapping(self, project_id: int, centre_id: int) -> None:
        """See that the user may know who is behind a pseudonym.

        Raises:
            AccessError: they may not.
        """
        self.require(project_id, centre_id, "viewer")
        if (project_id, centre_id) not in self.mappings:
            raise AccessError("You have no right to the mapping of pseudonyms.")

    def visible(self) -> ColumnElement[bool]:
        """The condition that keeps a query to the studies that the user may see."""
        pairs = sorted({*self.roles, *self.shared})
        if not pairs:
            return false()
        places = or_(*(and_(Study.project_id == p, Study.centre_id == c) for p, c in pairs))
        return and_(places, Study.id.not_in(self.blind())) if self.reads_blind else places

    def blind(self) -> Select[int]:
        """Studies that the user still has to read blind: nothing else of them is shown."""
        return _blind(self.user.id)

    def study(self, session: Session, number: int, role: str = "viewer", *, lock: bool = False) -> Study:
        """A study that the user may see with this role.

        Raises:
            NotFoundError: there is none, or it is not theirs.
            AccessError: the role is too low, or the user has to read it blind first.
        """
        study = session.get(Study, number, with_for_update=lock)
        if study is None:
            raise NotFoundError("It is not there, or not yours to see.")
        self.require(study.project_id, study.centre_id, role)
        here = self.blind().where(ReaderTask.study_id == study.id).limit(1)
        if self.reads_blind and session.scalar(here) is not None:
            raise AccessError("You read this study blind in a reader study: finish that reading first.")
        return study

    def audit(
        self, session: Session, action: str, study: Study | None = None, target: str = "", **details: Any
    ) -> None:
        """Write down what was done or read."""
        session.add(
            Audit(
                user_name=self.user.name,
                action=action,
                project_id=study.project_id if study else details.pop("project_id", None),
                centre_id=study.centre_id if study else details.pop("centre_id", None),
                target=target or (f"study {study.id}" if study else ""),
                details=details,
                address=self.address,
            )
        )

    def audited(self, action: str, study: Study, **details: Any) -> None:
        """Write down that a study was read."""
        with self.store.database.writing() as session:
            self.audit(session, action, study, **details)


def _blind(user: int) -> Select[int]:
    return (
        select(ReaderTask.study_id)
        .join(ReaderStudy, ReaderStudy.id == ReaderTask.reader_study_id)
        .where(
            ReaderTask.user_id == user,
            ReaderTask.finished.is_(None),
            ReaderStudy.frozen.is_(None),
        )
    )


def access(request: Request, store: StoreDep, who: SignedDep) -> Access:
    """The rights of who asks."""
    with store.database.reading() as session:
        rows = session.scalars(select(Membership).where(Membership.user_id == who.user.id)).all()
        roles = {(m.project_id, m.centre_id): m.role for m in rows}
        mappings = frozenset((m.project_id, m.centre_id) for m in rows if m.mapping)
        open_ = session.execute(
            select(ProjectCentre.project_id, ProjectCentre.centre_id).where(
                ProjectCentre.shared, ProjectCentre.project_id.in_({p for p, _ in roles})
            )
        ).all()
        shared = frozenset((p, c) for p, c in open_ if (p, c) not in roles)
        reads_blind = session.scalar(_blind(who.user.id).limit(1)) is not None
    address = request.client.host if request.client else ""
    return Access(store, who.user, roles, shared, mappings, address, reads_blind)


AccessDep = Annotated[Access, Depends(access)]
