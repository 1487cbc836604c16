"""Users: passwords, sessions of browsers, tokens of scripts."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from sarcoscope.errors import AccessError, SettingError
from sarcoscope.store.database import Database
from sarcoscope.store.tables import Centre, Membership, Project, ProjectCentre, SignIn, Token, User, now

MOST_FAILURES: Final = 5
LOCKED: Final = timedelta(minutes=15)
IDLE: Final = timedelta(hours=2)
LONGEST: Final = timedelta(hours=14)
SHORTEST_PASSWORD: Final = 10
TOKEN_START: Final = "sct_"
_SEEN_EVERY: Final = timedelta(minutes=1)
_hasher = PasswordHasher()


@dataclass(frozen=True)
class Signed:
    """Who asks, and how it was proven."""

    user: User
    csrf: str | None
    """What a changing request of a browser must bring along; None for tokens."""


def digest(secret: str) -> str:
    """Under which a session or token is kept: the secret itself is in no table."""
    return hashlib.sha256(secret.encode()).hexdigest()


def hashed(password: str) -> str:
    """Argon2id hash of a password.

    Raises:
        SettingError: it is too short or too simple.
    """
    if len(password) < SHORTEST_PASSWORD:
        raise SettingError(f"A password needs at least {SHORTEST_PASSWORD} characters.")
    if len(set(password)) < 5:
        raise SettingError("The password is too simple.")
    return _hasher.hash(password)


@cache
def _nobody() -> str:
    """A hash to compare with where there is no user, so that answers take the same time."""
    return _hasher.hash(secrets.token_urlsafe(16))


def _matches(stored: str, password: str) -> bool:
    try:
        return _hasher.verify(stored, password)
    except (VerificationError, InvalidHashError):
        return False


def sign_in(database: Database, name: str, password: str) -> tuple[str, str]:
    """Check a password; returns the session's secret and its CSRF token.

    After :data:`MOST_FAILURES` wrong passwords the user is locked out for a while.

    Raises:
        AccessError: wrong name or password, locked out, or not active.
    """
    wrong = AccessError("The name or the password is wrong.")
    with database.reading() as session:
        user = session.scalar(select(User).where(User.name == name))
        stored = user.password if user is not None else _nobody()
        locked = user is not None and user.locked_until is not None and user.locked_until > now()
    if locked:
        raise AccessError("Too many wrong passwords: wait a quarter of an hour, or ask an administrator.")
    right = _matches(stored, password)
    if user is None or not user.active:
        raise wrong
    secret, csrf = secrets.token_urlsafe(32), secrets.token_urlsafe(24)
    with database.writing() as session:
        user = session.get_one(User, user.id, with_for_update=True)
        if not right:
            user.failures += 1
            if user.failures >= MOST_FAILURES:
                user.failures, user.locked_until = 0, now() + LOCKED
        else:
            user.failures, user.locked_until = 0, None
            session.add(SignIn(digest=digest(secret), user_id=user.id, csrf=csrf))
            session.execute(delete(SignIn).where(SignIn.created < now() - LONGEST))
    if not right:
        raise wrong
    return secret, csrf


def of_session(database: Database, secret: str) -> Signed | None:
    """Who a session belongs to; None when it is unknown or over."""
    moment = now()
    with database.reading() as session:
        found = session.execute(
            select(SignIn, User).join(User, User.id == SignIn.user_id).where(SignIn.digest == digest(secret))
        ).first()
        if found is None:
            return None
        entry, user = found
        session.expunge_all()
    over = entry.created < moment - LONGEST or entry.seen < moment - IDLE
    if over or not user.active:
        sign_out(database, secret)
        return None
    if entry.seen < moment - _SEEN_EVERY:
        with database.writing() as session:
            kept = session.get(SignIn, entry.digest)
            if kept is not None:
                kept.seen = moment
    return Signed(user, entry.csrf)


def of_token(database: Database, secret: str) -> Signed | None:
    """Who a script's token belongs to."""
    with database.reading() as session:
        found = session.execute(
            select(Token, User).join(User, User.id == Token.user_id).where(Token.digest == digest(secret))
        ).first()
        if found is None:
            return None
        token, user = found
        session.expunge_all()
    if not user.active:
        return None
    if token.used is None or token.used < now() - _SEEN_EVERY:
        with database.writing() as session:
            kept = session.get(Token, token.id)
            if kept is not None:
                kept.used = now()
    return Signed(user, None)


def sign_out(database: Database, secret: str) -> None:
    """End a session."""
    with database.writing() as session:
        session.execute(delete(SignIn).where(SignIn.digest == digest(secret)))


def change_password(database: Database, user_id: int, old: str, new: str) -> None:
    """Change one's password; other sessions of the user end.

    Raises:
        AccessError: the old password is wrong.
        SettingError: the new one is too short or too simple.
    """
    with database.reading() as session:
        user = session.get_one(User, user_id)
        stored = user.password
    if not _matches(stored, old):
        raise AccessError("The old password is wrong.")
    if old == new:
        raise SettingError("The new password is the old one.")
    fresh = hashed(new)
    with database.writing() as session:
        user = session.get_one(User, user_id)
        user.password, user.must_change = fresh, False
        session.execute(delete(SignIn).where(SignIn.user_id == user_id))


def new_token(session: Session, user_id: int, name: str) -> str:
    """Make a token for scripts; it is shown once."""
    secret = TOKEN_START + secrets.token_urlsafe(32)
    session.add(Token(user_id=user_id, name=name, digest=digest(secret)))
    return secret


def one_time_password() -> str:
    """A password to be changed at the first sign-in."""
    return secrets.token_urlsafe(12)


def renew_password(session: Session, user: User) -> str:
    """Give a user a new one-time password, which is returned; sessions end and a lock is lifted."""
    password = one_time_password()
    user.password, user.must_change = hashed(password), True
    user.failures, user.locked_until = 0, None
    session.execute(delete(SignIn).where(SignIn.user_id == user.id))
    return password


def found_project(session: Session, user: User, centre: Centre, project: Project) -> None:
    """Add a project of one centre with its administrator, who may see identities."""
    session.add_all([user, centre, project])
    session.flush()
    session.add(ProjectCentre(project_id=project.id, centre_id=centre.id))
    session.add(
        Membership(
            user_id=user.id,
            project_id=project.id,
            centre_id=centre.id,
            role="administrator",
            mapping=True,
        )
    )


def first_start(database: Database) -> tuple[str, str] | None:
    """In an empty database make an administrator, a centre and a project; returns (name, one-time password).

    None when there are users already.
    """
    password = one_time_password()
    with database.writing() as session:
        if session.scalar(select(func.count()).select_from(User)):
            return None
        user = User(
            name="admin", full_name="Administrator", password=_hasher.hash(password),
            administrator=True, must_change=True,
        )  # fmt: skip
        centre = Centre(code="local", name="This hospital")
        project = Project(code="default", title="First project", purpose="Clinical reading")
        found_project(session, user, centre, project)
    return "admin", password
