"""Who is behind a pseudonym: the mapping, in a database file of its own, encrypted under a key of its own.

A pseudonym, a date shift and every UID are drawn at random and kept here; nothing is derived from the
identity. The file is useless without its key (``FILE.key``, or the environment variable
``SARCOSCOPE_MAPPING_KEY``), and both are readable by their owner alone.
"""

from __future__ import annotations

import base64
import getpass
import hashlib
import hmac
import json
import os
import secrets
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sarcoscope.deid.dates import DateShift
from sarcoscope.errors import MappingError, StorageError

KEY_VARIABLE: Final = "SARCOSCOPE_MAPPING_KEY"
NUMBER: Final = "patient_number"
"""Kind of alias: the patient ID without leading zeros, which spreadsheets drop."""
_ALPHABET: Final = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
_LETTERS: Final = 10
_LEAST_DAYS: Final = 30
_MOST_DAYS: Final = 3 * 365
_MOST_SECONDS: Final = 3600
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS persons (
    pseudonym TEXT PRIMARY KEY, lookup BLOB UNIQUE NOT NULL, project TEXT NOT NULL, sealed BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS aliases (
    kind TEXT NOT NULL, lookup BLOB NOT NULL, pseudonym TEXT NOT NULL, UNIQUE (kind, lookup, pseudonym));
CREATE TABLE IF NOT EXISTS uids (lookup BLOB PRIMARY KEY, new TEXT UNIQUE NOT NULL, sealed BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS audit (
    number INTEGER PRIMARY KEY AUTOINCREMENT, time TEXT NOT NULL, who TEXT NOT NULL, what TEXT NOT NULL,
    sealed BLOB NOT NULL);
"""


@dataclass(frozen=True)
class Identity:
    """Who a patient is, as the hospital's headers say."""

    centre: str
    patient_id: str
    issuer: str = ""
    name: str = ""
    sex: str = ""
    birth_date: str = ""
    """YYYYMMDD"""

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells people apart: the same number in two centres is two people."""
        return (self.centre.casefold(), self.issuer.casefold(), self.patient_id.strip().casefold())


@dataclass(frozen=True)
class Person:
    """A pseudonym and what belongs to it."""

    pseudonym: str
    shift: DateShift
    identity: Identity = field(repr=False)


class IdentityMap(Protocol):
    """What the engine needs of a mapping; the platform's store has one too."""

    def person(self, identity: Identity) -> Person:
        """The person of an identity; drawn at random when it is new."""

    def uid(self, original: str) -> str:
        """The new UID of an original one; drawn at random when it is new."""

    def add_alias(self, kind: str, value: str, person: Person) -> None:
        """Another number by which the person is known (``accession``, ``person_id``)."""


class FileMapping:
    """The mapping of one project in an SQLite file.

    Raises:
        MappingError: the file is no mapping, or its key is missing or another one's.
    """

    def __init__(self, path: Path, *, project: str = "default", create: bool = True) -> None:
        self.path, self.project = Path(path), project
        fresh = not self.path.exists() or self.path.stat().st_size == 0
        if fresh and not create:
            raise MappingError(f"There is no mapping '{self.path.name}'.")
        self._key = _key_of(self.path, fresh)
        self._cipher = AESGCM(self._key)
        self._persons: dict[tuple[str, str, str], Person] = {}
        self._uids: dict[str, str] = {}
        try:
            if fresh:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
            self._database = sqlite3.connect(self.path, timeout=60, isolation_level=None)
            self._database.executescript(_SCHEMA)
            self._check_key()
        except sqlite3.DatabaseError as error:
            raise MappingError(f"'{self.path.name}' is no mapping, or it is damaged.") from error
        except OSError as error:
            raise MappingError(
                f"The mapping '{self.path.name}' cannot be opened: {error.strerror}."
            ) from error

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def __enter__(self) -> FileMapping:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything inside is written together or not at all; other processes wait."""
        if self._database.in_transaction:
            yield
            return
        try:
            self._database.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            raise StorageError(f"The mapping '{self.path.name}' is in use or cannot be written.") from error
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            self._persons.clear()
            self._uids.clear()
            raise
        self._database.execute("COMMIT")

    def person(self, identity: Identity) -> Person:
        """The person of an identity; what the headers say newly (name, birth date) is added."""
        known = self._persons.get(identity.key)
        if known is not None:
            return known
        lookup = self._lookup("person", self.project, *identity.key)
        with self.transaction():
            row = self._one("SELECT pseudonym, sealed FROM persons WHERE lookup = ?", lookup)
            if row is not None:
                person = self._opened(row[0], row[1])
                person = self._completed(person, identity)
            else:
                person = Person(self._new_pseudonym(), _new_shift(), identity)
                self._database.execute(
                    "INSERT INTO persons VALUES (?, ?, ?, ?)",
                    (person.pseudonym, lookup, self.project, self._seal(_as_dict(person))),
                )
                self.add_alias("patient_id", identity.patient_id, person)
                self.add_alias(NUMBER, without_zeros(identity.patient_id), person)
        self._persons[identity.key] = person
        return person

    def uid(self, original: str) -> str:
        """The new UID (below 2.25) of an original one."""
        known = self._uids.get(original)
        if known is not None:
            return known
        lookup = self._lookup("uid", self.project, original)
        with self.transaction():
            row = self._one("SELECT new FROM uids WHERE lookup = ?", lookup)
            new = row[0] if row else f"2.25.{uuid.uuid4().int}"
            if row is None:
                self._database.execute(
                    "INSERT INTO uids VALUES (?, ?, ?)", (lookup, new, self._seal({"uid": original}))
                )
        self._uids[original] = new
        return str(new)

    def add_alias(self, kind: str, value: str, person: Person) -> None:
        """Another number of the person: ``patient_id``, ``person_id`` or ``accession``."""
        if value.strip():
            lookup = self._lookup("alias", self.project, kind, value.strip().casefold())
            self._database.execute(
                "INSERT OR IGNORE INTO aliases VALUES (?, ?, ?)", (kind, lookup, person.pseudonym)
            )

    def people_by(self, kind: str, value: str, centre: str = "") -> list[Person]:
        """Everybody of the project with this number (of one centre, if it is named)."""
        lookup = self._lookup("alias", self.project, kind, value.strip().casefold())
        rows = self._database.execute(
            "SELECT p.pseudonym, p.sealed FROM aliases a JOIN persons p ON p.pseudonym = a.pseudonym "
            "WHERE a.kind = ? AND a.lookup = ? AND p.project = ?",
            (kind, lookup, self.project),
        ).fetchall()
        people = [self._opened(pseudonym, sealed) for pseudonym, sealed in rows]
        return [p for p in people if not centre or p.identity.centre.casefold() == centre.casefold()]

    def person_of(self, pseudonym: str) -> Person | None:
        """The person behind a pseudonym, if the mapping knows it."""
        row = self._one("SELECT pseudonym, sealed FROM persons WHERE pseudonym = ?", pseudonym)
        return self._opened(row[0], row[1]) if row else None

    def original_uid(self, new: str) -> str | None:
        """The UID that a new one stands for."""
        row = self._one("SELECT sealed FROM uids WHERE new = ?", new)
        return str(self._open(row[0])["uid"]) if row else None

    def aliases_of(self, pseudonym: str, kind: str) -> int:
        """How many numbers of a kind the person has."""
        row = self._one("SELECT count(*) FROM aliases WHERE pseudonym = ? AND kind = ?", pseudonym, kind)
        return int(row[0]) if row else 0

    def record(self, what: str, details: dict[str, Any]) -> None:
        """Write down who used the mapping for what."""
        time = datetime.now(UTC).isoformat(timespec="seconds")
        self._database.execute(
            "INSERT INTO audit (time, who, what, sealed) VALUES (?, ?, ?, ?)",
            (time, _user(), what, self._seal(details)),
        )

    def audit(self) -> list[dict[str, Any]]:
        """Every use, oldest first."""
        rows = self._database.execute("SELECT time, who, what, sealed FROM audit ORDER BY number").fetchall()
        return [{"time": t, "who": w, "what": a, **self._open(s)} for t, w, a, s in rows]

    def _completed(self, person: Person, identity: Identity) -> Person:
        old = person.identity
        merged = Identity(
            old.centre,
            old.patient_id,
            old.issuer,
            old.name or identity.name,
            old.sex or identity.sex,
            old.birth_date or identity.birth_date,
        )
        if merged == old:
            return person
        person = Person(person.pseudonym, person.shift, merged)
        self._database.execute(
            "UPDATE persons SET sealed = ? WHERE pseudonym = ?",
            (self._seal(_as_dict(person)), person.pseudonym),
        )
        return person

    def _new_pseudonym(self) -> str:
        while True:
            name = "SC" + "".join(secrets.choice(_ALPHABET) for _ in range(_LETTERS))
            if self._one("SELECT 1 FROM persons WHERE pseudonym = ?", name) is None:
                return name

    def _one(self, sql: str, *values: object) -> tuple[Any, ...] | None:
        row: tuple[Any, ...] | None = self._database.execute(sql, values).fetchone()
        return row

    def _check_key(self) -> None:
        proof = self._lookup("key")
        self._database.execute("INSERT OR IGNORE INTO about VALUES ('key', ?)", (proof,))
        row = self._one("SELECT value FROM about WHERE name = 'key'")
        if row is None or not hmac.compare_digest(row[0], proof):
            raise MappingError(f"The key does not belong to the mapping '{self.path.name}'.")

    def _lookup(self, *parts: str) -> bytes:
        """Where an entry stands: keyed, so that the file does not give away who is in it."""
        return hmac.new(self._key, "\x1f".join(parts).encode(), hashlib.sha256).digest()

    def _seal(self, content: dict[str, Any]) -> bytes:
        nonce = secrets.token_bytes(12)
        return nonce + self._cipher.encrypt(nonce, json.dumps(content, ensure_ascii=False).encode(), None)

    def _open(self, sealed: bytes) -> dict[str, Any]:
        try:
            content: dict[str, Any] = json.loads(self._cipher.decrypt(sealed[:12], sealed[12:], None))
        except (InvalidTag, ValueError) as error:
            raise MappingError(f"The mapping '{self.path.name}' is damaged.") from error
        return content

    def _opened(self, pseudonym: str, sealed: bytes) -> Person:
        content = self._open(sealed)
        shift = DateShift(content["days"], content["seconds"])
        return Person(pseudonym, shift, Identity(**content["identity"]))


def without_zeros(number: str) -> str:
    """A number without its leading zeros; empty when it is none."""
    text = number.strip()
    return (text.lstrip("0") or "0") if text.isdigit() else ""


def _user() -> str:
    """The user of this computer; behind sudo, who called it."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _as_dict(person: Person) -> dict[str, Any]:
    return {
        "identity": asdict(person.identity),
        "days": person.shift.days,
        "seconds": person.shift.seconds,
    }


def _new_shift() -> DateShift:
    """One random shift into the past."""
    days = -(_LEAST_DAYS + secrets.randbelow(_MOST_DAYS - _LEAST_DAYS))
    return DateShift(days, secrets.randbelow(2 * _MOST_SECONDS) - _MOST_SECONDS)


def _key_of(path: Path, fresh: bool) -> bytes:
    """The key: from the environment, else from the file beside the mapping, made with a new mapping."""
    given = os.environ.get(KEY_VARIABLE)
    beside = path.with_name(path.name + ".key")
    try:
        if given is None and fresh and not beside.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(beside, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as stream:
                stream.write(base64.urlsafe_b64encode(secrets.token_bytes(32)))
        text = given.encode() if given is not None else beside.read_bytes()
        key = base64.urlsafe_b64decode(text.strip())
    except FileNotFoundError as error:
        raise MappingError(f"The key of the mapping ('{beside.name}') is missing.") from error
    except OSError as error:
        raise MappingError(f"The key of the mapping cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise MappingError("The key of the mapping is not a key.") from error
    if len(key) != 32:
        raise MappingError("The key of the mapping is not a key.")
    return key
