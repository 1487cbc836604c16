"""Sign in and out, one's own password, language and tokens."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field
from sqlalchemy import select

from sarcoscope.errors import AccessError, NotFoundError
from sarcoscope.language.catalogue import check_language
from sarcoscope.store.accounts import change_password, new_token, sign_in, sign_out
from sarcoscope.store.tables import Audit, Centre, Project, Token, User
from sarcoscope.web.access import COOKIE, AccessDep, Number, SignedDep, StoreDep

router = APIRouter(tags=["session"])
Name = Annotated[str, Field(min_length=1, max_length=60, examples=["kim"])]
Password = Annotated[str, Field(min_length=1, max_length=200, examples=["a long password"])]


class Credentials(BaseModel):
    """Name and password."""

    name: Name
    password: Password


class Passwords(BaseModel):
    """The old and the new password."""

    old: Password
    new: Password


class Member(BaseModel):
    """Where one is a member, with which rights."""

    project: str
    project_title: str
    centre: str
    centre_name: str
    role: str
    mapping: bool
    shared: bool = Field(description="Seen because another centre shares its studies.")
    p0_words: bool = False


class Me(BaseModel):
    """Who is signed in."""

    name: str = Field(examples=["kim"])
    full_name: str
    language: str = Field(examples=["ko"])
    administrator: bool
    must_change: bool
    csrf: str | None = Field(description="Send it as X-CSRF-Token with every change.")
    memberships: list[Member]


class Language(BaseModel):
    """A language."""

    language: str = Field(examples=["ko"])


class TokenName(BaseModel):
    """What a token is for."""

    name: Annotated[str, Field(min_length=1, max_length=100, examples=["night batch"])]


class TokenEntry(BaseModel):
    """A token, without its secret."""

    id: int
    name: str
    created: datetime
    used: datetime | None


class NewToken(TokenName):
    """A token that was just made."""

    token: str = Field(description="Shown once.")


@router.post("/session", status_code=204)
def start_session(given: Credentials, request: Request, store: StoreDep) -> Response:
    """Sign in: the answer sets a cookie."""
    address = request.client.host if request.client else ""
    try:
        secret, _ = sign_in(store.database, given.name, given.password)
    except AccessError:
        with store.database.writing() as session:
            known = session.scalar(select(User.name).where(User.name == given.name))
            session.add(Audit(user_name=known or "?", action="sign_in_refused", address=address))
        raise
    with store.database.writing() as session:
        session.add(Audit(user_name=given.name, action="sign_in", address=address))
    response = Response(status_code=204)
    secure = request.url.scheme == "https"
    response.set_cookie(COOKIE, secret, httponly=True, samesite="strict", secure=secure, path="/")
    return response


@router.delete("/session", status_code=204)
def end_session(request: Request, store: StoreDep, _who: SignedDep) -> Response:
    """Sign out."""
    cookie = request.cookies.get(COOKIE)
    if cookie:
        sign_out(store.database, cookie)
    response = Response(status_code=204)
    response.delete_cookie(COOKIE, path="/")
    return response


@router.get("/me")
def me(access: AccessDep, who: SignedDep) -> Me:
    """Who is signed in, with their memberships."""
    user = access.user
    with access.store.database.reading() as session:
        projects = {p.id: p for p in session.scalars(select(Project))}
        centres = {c.id: c for c in session.scalars(select(Centre))}
        members = [
            Member(
                project=projects[p].code,
                project_title=projects[p].title,
                centre=centres[c].code,
                centre_name=centres[c].name,
                role=access.roles.get((p, c), "viewer"),
                mapping=(p, c) in access.mappings,
                shared=(p, c) in access.shared,
                p0_words=projects[p].p0_words,
            )
            for p, c in sorted({*access.roles, *access.shared})
        ]
    return Me(
        name=user.name,
        full_name=user.full_name,
        language=user.language,
        administrator=user.administrator,
        must_change=user.must_change,
        csrf=who.csrf,
        memberships=members,
    )


@router.put("/me/password", status_code=204)
def set_password(given: Passwords, access: AccessDep) -> None:
    """Change one's password; every session of the user ends."""
    change_password(access.store.database, access.user.id, given.old, given.new)
    with access.store.database.writing() as session:
        access.audit(session, "change_password")


@router.put("/me/language", status_code=204)
def set_language(given: Language, access: AccessDep) -> None:
    """Choose the language of the pages."""
    check_language(given.language)
    with access.store.database.writing() as session:
        session.get_one(User, access.user.id).language = given.language


@router.get("/me/tokens")
def tokens(access: AccessDep) -> list[TokenEntry]:
    """One's tokens for scripts."""
    with access.store.database.reading() as session:
        rows = session.scalars(select(Token).where(Token.user_id == access.user.id).order_by(Token.id)).all()
        return [TokenEntry(id=t.id, name=t.name, created=t.created, used=t.used) for t in rows]


@router.post("/me/tokens", status_code=201)
def make_token(given: TokenName, access: AccessDep) -> NewToken:
    """Make a token; its secret is shown once."""
    with access.store.database.writing() as session:
        secret = new_token(session, access.user.id, given.name)
        access.audit(session, "make_token", target=given.name)
    return NewToken(name=given.name, token=secret)


@router.delete("/me/tokens/{number}", status_code=204)
def remove_token(number: Number, access: AccessDep) -> None:
    """Take a token back."""
    with access.store.database.writing() as session:
        token = session.get(Token, number)
        if token is None or token.user_id != access.user.id:
            raise NotFoundError("You have no such token.")
        session.delete(token)
        access.audit(session, "remove_token", target=token.name)
