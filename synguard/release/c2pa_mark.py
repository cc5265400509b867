"""The C2PA mark of a released PNG file: a signed manifest that says that a model made it, and nothing more.

C2PA specification 2.1: the action c2pa.created with IPTC's source type (18.12), bound to the bytes of the file by a hash
(18.5), signed under an X.509 certificate (14.5). No thumbnail, no time stamp of a server, no network. A reader that has the
library checks what each manifest says against exactly that; whether to believe its certificate is for the recipient to say.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from synguard.errors import InputError, IntegrityError
from synguard.governance.files import read_secret
from synguard.release.images import C2PA_CHUNK, SOURCE_TYPE, marked_png
from synguard.release.jumbf import says_nothing_more

__all__ = ["LARGEST", "Credentials", "check_c2pa", "open_credentials", "signed_png"]

LARGEST = 32 * 1024
"""Bytes of a manifest with a chain of three certificates, generously. A hidden picture would need more."""
_SUITABLE = "one that a CA issued for digital signatures, with e-mail protection or document signing as its use"
_ACTION = {"action": "c2pa.created", "digitalSourceType": SOURCE_TYPE}
_MANIFEST = {
    "claim_generator_info": [{"name": "synguard"}],
    "assertions": [{"label": "c2pa.actions", "data": {"actions": [_ACTION]}}],
}
_SETTINGS = {
    "version": 1,
    "core": {"allowed_network_hosts": []},
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_trust": False, "verify_after_sign": False},
    "builder": {"thumbnail": {"enabled": False}, "created_assertion_labels": ["c2pa.actions"]},
}
_CURVES = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
_UUID = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_CLAIM = {"instanceID", "claim_generator_info", "signature", "created_assertions", "alg", "claim_version"}
_NEEDED = {"claimSignature.validated", "claimSignature.insideValidity", "assertion.dataHash.match"}
_HARMLESS = {"signingCredential.expired"}
"""Without a time stamp a certificate ends one day; the day of the release stands in the publisher's statement."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """A signing key of C2PA, its algorithm there, and its certificates from the leaf on, as PEM."""

    algorithm: str
    key: bytes = field(repr=False)
    certificates: bytes


def open_credentials(key: Path, certificate: Path, passphrase: Callable[[], str], now: datetime) -> Credentials:
    """The key and certificates in two PEM files; `passphrase` is asked only where the key is encrypted.

    Raises InputError where the files are no such key and chain, do not belong together, or cannot sign a C2PA manifest now.
    """
    private = _private_key(key, passphrase)
    try:
        chain = x509.load_pem_x509_certificates(certificate.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError.of(certificate, "no certificates that can be read", "X.509 certificates as PEM") from error
    if chain[0].public_key() != private.public_key():
        raise InputError.of(certificate, "a first certificate of another key", f"that of {key}")
    first, last = chain[0].not_valid_before_utc, chain[0].not_valid_after_utc
    if not first <= now <= last:
        raise InputError.of(certificate, f"one valid from {first:%Y-%m-%d} to {last:%Y-%m-%d}", "one valid today")
    raw = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    pem = b"".join(item.public_bytes(Encoding.PEM) for item in chain)
    credentials = Credentials(_algorithm(private, key), raw, pem)
    try:
        check_c2pa(signed_png(marked_png(np.zeros((1, 1, 3), np.uint8)), credentials), "a trial")
    except IntegrityError as error:
        raise InputError.of(certificate, f"one that signs what is not valid ({error})", _SUITABLE) from error
    return credentials


def signed_png(png: bytes, credentials: Credentials) -> bytes:
    """A PNG file of `marked_png` with a manifest in it. Raises InputError where the certificate is no good for that."""
    c2pa = _library()
    if c2pa is None:
        raise InputError.of("the C2PA mark", "no c2pa-python", "the extra: pip install 'synguard[c2pa]'")
    out = io.BytesIO()
    try:
        info = c2pa.C2paSignerInfo(credentials.algorithm, credentials.certificates, credentials.key, None)
        with c2pa.Context.from_dict(_SETTINGS, signer=c2pa.Signer.from_info(info)) as context:
            c2pa.Builder(_MANIFEST, context=context).sign("image/png", io.BytesIO(png), out)
    except c2pa.C2paError as error:
        said = " ".join(str(error).split())
        raise InputError.of("the C2PA certificate", f"one that the library refuses ({said})", _SUITABLE) from error
    return out.getvalue()


def check_c2pa(data: bytes, where: str) -> str | None:
    """Whose certificate signed the manifest in a PNG file of the form of `check_marked`; None where no library can tell.

    Raises IntegrityError where the manifest is not bound to these bytes, or says anything but what `signed_png` lets it say.
    """
    length = int.from_bytes(data[33:37], "big")
    if data[37:41] != C2PA_CHUNK or length > LARGEST:
        raise IntegrityError(f"{where}: found no C2PA chunk of at most {LARGEST:,} bytes after the header, expected one")
    if not says_nothing_more(data[41 : 41 + length]):
        raise IntegrityError(f"{where}: found a C2PA chunk with more or less in it than the one manifest of a release")
    c2pa = _library()
    if c2pa is None:
        return None
    try:
        with (
            c2pa.Context.from_dict(_SETTINGS) as context,
            c2pa.Reader("image/png", io.BytesIO(data), context=context) as reader,
        ):
            report = json.loads(reader.detailed_json())
        (manifest,) = report["manifests"].values()
        good = _holds(report["validation_results"]["activeManifest"])
        good = good and _says_only_that(manifest, {"start": 33, "length": length + 12})
        signer = f"{manifest['signature']['issuer']}, {manifest['signature']['common_name']}"
    except (c2pa.C2paError, KeyError, TypeError, ValueError, AttributeError) as error:
        said = " ".join(f"{type(error).__name__} {error}".split())
        raise IntegrityError(f"{where}: found no C2PA manifest that can be read ({said}), expected one") from error
    if not good:
        raise IntegrityError(f"{where}: found a C2PA manifest that does not hold, or says more or less than a release says")
    return signer


def _holds(results: Mapping[str, Any]) -> bool:
    codes = {kind: {entry["code"] for entry in results[kind]} for kind in ("success", "failure")}
    return codes["success"] >= _NEEDED and codes["failure"] <= _HARMLESS


def _says_only_that(manifest: Mapping[str, Any], chunk: Mapping[str, int]) -> bool:
    """Whether a manifest says what `_MANIFEST` lets it say, and is bound to all but its own chunk of the file."""
    claim, store = manifest["claim"], manifest["assertion_store"]
    generator, bound = claim["claim_generator_info"], store["c2pa.hash.data"]
    return all(
        (
            _filled(manifest) == {"claim", "assertion_store", "signature"},
            _filled(claim) == _CLAIM,
            set(store) == {"c2pa.actions.v2", "c2pa.hash.data"},
            store["c2pa.actions.v2"] == {"actions": [_ACTION]},
            _filled(bound) == {"exclusions", "name", "alg", "hash", "pad"},
            bound["exclusions"] == [chunk] and bound["name"] == "jumbf manifest" and not bound["pad"].strip("A="),
            re.fullmatch(f"xmp[.]iid:{_UUID}", claim["instanceID"]),
            generator["name"] == "synguard",
            all(re.fullmatch("[0-9.]+", version) for library, version in generator.items() if library != "name"),
        )
    )


def _filled(found: Mapping[str, Any]) -> set[str]:
    return {key for key, value in found.items() if value}


def _private_key(path: Path, passphrase: Callable[[], str]) -> Ed25519PrivateKey | EllipticCurvePrivateKey | RSAPrivateKey:
    data = read_secret(path, "a key", "a private key as PEM (PKCS#8)")
    try:
        try:
            key = load_pem_private_key(data, None)
        except TypeError:
            key = load_pem_private_key(data, passphrase().encode())
    except (ValueError, TypeError) as error:
        raise InputError.of(path, "no private key that can be opened", "one as PEM (PKCS#8)") from error
    if not isinstance(key, Ed25519PrivateKey | EllipticCurvePrivateKey | RSAPrivateKey):
        raise InputError.of(path, "a key of another kind", "Ed25519, ECDSA or RSA")
    return key


def _algorithm(key: Ed25519PrivateKey | EllipticCurvePrivateKey | RSAPrivateKey, path: Path) -> str:
    """What C2PA calls the algorithm of a key: specification 2.1, 13.2."""
    if isinstance(key, Ed25519PrivateKey):
        return "ed25519"
    if isinstance(key, RSAPrivateKey):
        return "ps256"
    if key.curve.name not in _CURVES:
        raise InputError.of(path, f"a key on {key.curve.name}", f"one on {', '.join(_CURVES)}")
    return _CURVES[key.curve.name]


def _library() -> Any:
    """The library, or None where it is not installed."""
    try:
        import c2pa
    except ImportError:
        return None
    return c2pa
