"""Keys in hardware tokens: ECDSA P-256 through PKCS#11, named by a URI of RFC 7512.

    pkcs11:token=board;object=osei?module-path=/usr/lib/softhsm/libsofthsm2.so

The private key never leaves the token. Tokens sign with P-256, since few of them know Ed25519. Needs the extra `token`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key

from synguard.errors import InputError
from synguard.governance.keys.public import key_id, low_s, public_text

__all__ = ["SCHEME", "TokenKey", "create", "open_key"]

SCHEME = "pkcs11:"
_EXPECTED = f"{SCHEME}token=LABEL;object=LABEL?module-path=FILE"


@dataclass(frozen=True)
class TokenKey:
    """A P-256 key in a token. A session is opened for each use, so that the token may be taken out between."""

    module: Path
    token: str
    label: str
    pin: str = field(repr=False)

    @cached_property
    def public(self) -> str:
        """The public half as text. Raises InputError where the token has no such key on P-256."""
        from pkcs11 import KeyType, ObjectClass
        from pkcs11.util.ec import encode_ec_public_key

        with self._session() as session:
            key = session.get_key(object_class=ObjectClass.PUBLIC_KEY, key_type=KeyType.EC, label=self.label)
            encoded = encode_ec_public_key(key)
        try:
            found = load_der_public_key(encoded)
            if isinstance(found, ec.EllipticCurvePublicKey):
                return public_text(found)
        except ValueError:
            pass
        raise InputError.of(self, "a key on another curve", "P-256")

    @property
    def key_id(self) -> str:
        """sha256 of the public half."""
        return key_id(self.public)

    def sign(self, data: bytes) -> bytes:
        """An ECDSA signature over the sha256 of `data`, as DER with the lower s."""
        from pkcs11 import KeyType, Mechanism, ObjectClass

        with self._session() as session:
            key = session.get_key(object_class=ObjectClass.PRIVATE_KEY, key_type=KeyType.EC, label=self.label)
            raw = key.sign(hashlib.sha256(data).digest(), mechanism=Mechanism.ECDSA)
        return low_s(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))

    def __str__(self) -> str:
        return f"{SCHEME}token={self.token};object={self.label}"

    @contextmanager
    def _session(self, *, write: bool = False) -> Iterator[Any]:
        try:
            import pkcs11
        except ImportError as error:
            raise InputError.of(self, "no python-pkcs11", "pip install 'synguard[token]'") from error
        try:
            with pkcs11.lib(str(self.module)).get_token(token_label=self.token).open(user_pin=self.pin, rw=write) as session:
                yield session
        except (pkcs11.PKCS11Error, RuntimeError) as error:
            said = " ".join(f"{type(error).__name__} {error}".split())
            raise InputError.of(self, f"a token that says: {said}", "a token with this key and PIN") from error


def open_key(uri: str, pin: str) -> TokenKey:
    """The key that a URI names. Raises InputError where the URI is none, or token, key or PIN are not those it needs."""
    key = _parse(uri, pin)
    _ = key.public  # whatever is wrong is said before anything is signed
    return key


def create(uri: str, pin: str) -> TokenKey:
    """A fresh P-256 key in a token that was set up before; it can never be read out. Raises InputError."""
    key = _parse(uri, pin)
    with key._session(write=True) as session:
        from pkcs11 import Attribute, KeyType
        from pkcs11.util.ec import encode_named_curve_parameters

        if list(session.get_objects({Attribute.LABEL: key.label})):
            raise InputError.of(key, "an object of that name in the token already", "a name for a new key")
        parameters = {Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")}
        curve = session.create_domain_parameters(KeyType.EC, parameters, local=True)
        locked = {Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False}
        curve.generate_keypair(store=True, label=key.label, private_template=locked)
    return key


def _parse(uri: str, pin: str) -> TokenKey:
    path, _, query = uri.removeprefix(SCHEME).partition("?")
    parts = dict(pair.partition("=")[::2] for pair in [*path.split(";"), *query.split("&")] if pair)
    found = {name: unquote(value) for name, value in parts.items()}
    if not uri.startswith(SCHEME) or set(found) != {"token", "object", "module-path"} or not all(found.values()):
        raise InputError.of("key", repr(uri), _EXPECTED)
    module = Path(found["module-path"])
    if not module.is_file():
        raise InputError.of(module, "no file", "the PKCS#11 module of the token's maker")
    return TokenKey(module, found["token"], found["object"], pin)
