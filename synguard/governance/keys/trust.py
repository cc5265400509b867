"""The trust file: which people there are, which roles they have, and which keys are theirs. Signed by the root key.

People and roles come from here and never from the number of keys. Every change raises the serial number, so that an older
file shown in place of a newer one is noticed. A key that was revoked counts for nothing, whatever day it claims to have
signed on; who only leaves gets an earlier end, and what was signed before stays good.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from synguard.errors import InputError, IntegrityError
from synguard.governance import envelope
from synguard.governance.files import write_private
from synguard.governance.keys.public import Signer, key_id

__all__ = ["Grant", "Person", "Revocation", "Trust", "grant", "read_trust", "revoke", "write_trust"]

SCHEMA_VERSION = 1
PAYLOAD_TYPE = "application/vnd.synguard.trust+json"
_NAME = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,79}")
"""Lower case, or one person in two spellings would be two people."""
_ROLE = re.compile(r"(?=.{2,40}$)[a-z][a-z0-9]*(-[a-z0-9]+)*")
"""As policies name them."""


@dataclass(frozen=True, slots=True)
class Revocation:
    """When a key was revoked, and why."""

    on: date
    reason: str


@dataclass(frozen=True, slots=True)
class Grant:
    """A key of a person. It signs from the first day to the last, both included."""

    public: str
    first: date
    last: date
    revoked: Revocation | None = None


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who may sign, in these roles."""

    name: str
    roles: tuple[str, ...]
    keys: tuple[Grant, ...]


@dataclass(frozen=True, slots=True)
class Trust:
    """A trust file. `root` is the public key that signs it."""

    root: str
    serial: int
    people: tuple[Person, ...]

    def holder(self, key: str) -> tuple[Person, Grant] | None:
        """Whose key that is, by key id."""
        for person in self.people:
            for held in person.keys:
                if key_id(held.public) == key:
                    return person, held
        return None


def read_trust(path: Path, *, root: str | None = None) -> Trust:
    """A trust file. `root` is the key id that it must be signed by, if that is known from elsewhere.

    Raises InputError where there is no such file, and IntegrityError where it is not exactly what its root key signed, or a
    key stands in it twice.
    """
    try:
        data = path.read_bytes() if path.stat().st_size <= envelope.LARGEST else b""
    except OSError as error:
        raise InputError.of(path, f"no file that can be read ({error.strerror})", "a trust file") from error
    public = _root_of(data, str(path))
    found = envelope.verify(data, public, str(path), kind=PAYLOAD_TYPE)
    if root is not None and key_id(public) != root:
        raise IntegrityError(f"{path}: found the root key {key_id(public)[:16]}, expected {root[:16]}")
    try:
        trust = _parse(found)
    except (KeyError, TypeError, ValueError) as error:
        raise IntegrityError(f"{path}: found a trust file in another form ({error}), expected synguard's own") from error
    if _document(trust) != found:
        raise IntegrityError(f"{path}: found a trust file in another form, expected synguard's own")
    return trust


def write_trust(path: Path, trust: Trust, root: Signer) -> None:
    """Signs and writes a trust file. Anybody may read it: it holds public keys. Raises InputError for another root key."""
    if root.public != trust.root:
        raise InputError.of(path, f"the key {root.key_id[:16]}", f"its root key, {key_id(trust.root)[:16]}")
    write_private(path, envelope.sign(_document(trust), root, kind=PAYLOAD_TYPE))
    path.chmod(0o644)


def grant(trust: Trust, name: str, roles: Iterable[str], key: Grant) -> Trust:
    """The trust with a key for that person, who from now on has exactly these roles.

    A key that the person has already gets these days instead of its own. Raises InputError for a name or role in another
    form, days in the wrong order, a key of somebody else, and a key that was revoked.
    """
    wanted = tuple(sorted(set(roles)))
    for role in wanted:
        if not _ROLE.fullmatch(role):
            raise InputError.of("role", repr(role), "lower-case words joined by hyphens, as policies name roles")
    if not wanted:
        raise InputError.of(name, "no role", "at least one")
    if not _NAME.fullmatch(name):
        raise InputError.of("person", repr(name), "a name in lower case, such as a.osei")
    if key.first > key.last:
        raise InputError.of(name, f"a key from {key.first} until {key.last}", "a last day after the first")
    held = trust.holder(key_id(key.public))
    if held is not None and held[0].name != name:
        raise InputError.of(name, f"a key that {held[0].name} has", "a key of their own")
    if held is not None and held[1].revoked is not None:
        raise InputError.of(name, "a key that was revoked", "a new key")
    before = next((person for person in trust.people if person.name == name), Person(name, (), ()))
    others = [found for found in before.keys if found.public != key.public]
    person = Person(name, wanted, tuple(sorted([*others, key], key=lambda found: found.public)))
    return _with(trust, person)


def revoke(trust: Trust, key: str, revocation: Revocation) -> Trust:
    """The trust with that key, by its id or the first 16 characters of it, revoked for good. Raises InputError."""
    if len(revocation.reason) < 10:
        raise InputError.of("reason", repr(revocation.reason), "10 characters or more")
    for person in trust.people:
        for held in person.keys:
            if len(key) >= 16 and key_id(held.public).startswith(key):
                if held.revoked is not None:
                    raise InputError.of(key, f"a key revoked on {held.revoked.on}", "one that is in force")
                keys = tuple(replace(k, revoked=revocation) if k is held else k for k in person.keys)
                return _with(trust, replace(person, keys=keys))
    raise InputError.of(key, "no such key in the trust file", "the id of a key (16 characters or more)")


def _with(trust: Trust, person: Person) -> Trust:
    others = [found for found in trust.people if found.name != person.name]
    people = tuple(sorted([*others, person], key=lambda found: found.name))
    return replace(trust, serial=trust.serial + 1, people=people)


def _root_of(data: bytes, where: str) -> str:
    """The root key that the payload names; whether it signed is for `envelope.verify` to say."""
    try:
        root = envelope.unverified(data, where)["root"]
    except KeyError as error:
        raise IntegrityError(f"{where}: found no root key, expected a trust file") from error
    if not isinstance(root, str):
        raise IntegrityError(f"{where}: found no root key, expected a trust file")
    return root


def _parse(found: dict[str, Any]) -> Trust:
    if found["schema_version"] != SCHEMA_VERSION:
        raise ValueError(f"schema version {found['schema_version']}")
    people = tuple(
        Person(row["person"], tuple(row["roles"]), tuple(_grant(key) for key in row["keys"])) for row in found["people"]
    )
    names = [person.name for person in people]
    keys = [key_id(held.public) for person in people for held in person.keys]
    if names != sorted(set(names)) or len(keys) != len(set(keys)):
        raise ValueError("a person or a key twice")
    if not all(_NAME.fullmatch(name) for name in names):
        raise ValueError("a person with capitals or signs")
    return Trust(found["root"], int(found["serial"]), people)


def _grant(row: dict[str, Any]) -> Grant:
    revoked = row["revoked"]
    revocation = None if revoked is None else Revocation(date.fromisoformat(revoked["on"]), revoked["reason"])
    return Grant(row["public"], date.fromisoformat(row["first"]), date.fromisoformat(row["last"]), revocation)


def _document(trust: Trust) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "root": trust.root,
        "serial": trust.serial,
        "people": [
            {"person": person.name, "roles": list(person.roles), "keys": [_row(held) for held in person.keys]}
            for person in trust.people
        ],
    }


def _row(held: Grant) -> dict[str, Any]:
    revoked = None if held.revoked is None else {"on": held.revoked.on.isoformat(), "reason": held.revoked.reason}
    return {"public": held.public, "first": held.first.isoformat(), "last": held.last.isoformat(), "revoked": revoked}
