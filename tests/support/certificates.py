"""Keys and X.509 certificates of an invented hospital, as C2PA wants them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

KEYS: dict[str, Callable[[], Any]] = {
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "es256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "es384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ps256": lambda: rsa.generate_private_key(65537, 2048),
}
DAY = timedelta(days=1)


def named(name: str) -> x509.Name:
    """A name in the hospital."""
    pairs = ((NameOID.ORGANIZATION_NAME, "Hospital X"), (NameOID.COMMON_NAME, name))
    return x509.Name([x509.NameAttribute(kind, value) for kind, value in pairs])


def credentials_in(
    folder: Path,
    kind: str = "es256",
    *,
    use: bool = True,
    first: datetime | None = None,
    last: datetime | None = None,
    passphrase: str = "",
) -> tuple[Path, Path]:
    """A key and its chain of two certificates as PEM files; without `use` they are for nothing in particular."""
    now = datetime.now(UTC)
    days = (first or now - DAY, last or now + 300 * DAY)
    authority, key = KEYS["es256"](), KEYS[kind]()
    root = _begun("Root", authority, days, authority=True).sign(authority, hashes.SHA256())
    leaf = _begun("Synthetic images", key, days, authority=False)
    leaf = leaf.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), False)
    if use:
        leaf = leaf.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), False)
    chain = [leaf.sign(authority, hashes.SHA256()), root]
    folder.mkdir(parents=True, exist_ok=True)
    protection = BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption()
    files = folder / "c2pa.key", folder / "c2pa.pem"
    files[0].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection))
    files[0].chmod(0o600)
    files[1].write_bytes(b"".join(item.public_bytes(Encoding.PEM) for item in chain))
    return files


def _begun(name: str, key: Any, days: tuple[datetime, datetime], *, authority: bool) -> x509.CertificateBuilder:
    usage = [not authority, *[False] * 4, authority, authority, False, False]
    return (
        x509.CertificateBuilder(named("Root"), named(name), key.public_key(), x509.random_serial_number(), *days)
        .add_extension(x509.BasicConstraints(authority, None), True)
        .add_extension(x509.KeyUsage(*usage), True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
    )
