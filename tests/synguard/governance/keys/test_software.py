"""Key files: encrypted, owner-only, and readable by another implementation."""

from __future__ import annotations

import subprocess

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from synguard.errors import InputError, IntegrityError
from synguard.governance.keys import public, software

PASSPHRASE = "correct horse battery"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    path = tmp_path_factory.mktemp("keys") / "osei"
    return path, software.create(path, PASSPHRASE)


def test_a_key_comes_back_from_its_file(made):
    path, key = made
    found = software.open_key(path, PASSPHRASE)
    assert found.public == key.public == path.with_name("osei.pub").read_text().strip()
    public.verify(key.public, found.sign(b"data"), b"data", "here")
    assert len(found.key_id) == 64


def test_the_file_is_encrypted_and_for_its_owner_only(made):
    path, key = made
    assert path.stat().st_mode & 0o777 == 0o600
    assert key.private.private_bytes_raw() not in path.read_bytes()
    assert PASSPHRASE not in repr(key)
    assert "Ed25519PrivateKey" not in repr(key)


@pytest.mark.system
def test_ssh_keygen_reads_it(made):
    """An independent implementation takes the same public key out of the file."""
    path, key = made
    done = subprocess.run(["ssh-keygen", "-y", "-P", PASSPHRASE, "-f", path], capture_output=True, text=True, check=True)
    assert _raw(done.stdout) == key.public


def _raw(line: str) -> str:
    import base64

    return base64.b64encode(base64.b64decode(line.split()[1])[-32:]).decode()


def test_another_passphrase_opens_nothing(made):
    with pytest.raises(InputError, match="no key that this passphrase opens"):
        software.open_key(made[0], "correct horse batterz")


def test_nothing_is_written_over(made):
    before = made[0].read_bytes()
    with pytest.raises(InputError, match="exists already"):
        software.create(made[0], PASSPHRASE)
    assert made[0].read_bytes() == before


def test_a_short_passphrase_is_refused_and_nothing_written(tmp_path):
    with pytest.raises(InputError, match="expected 12 or more"):
        software.create(tmp_path / "k", "short")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("defect", ["absent", "folder", "garbage", "plain", "curve", "readable", "empty"])
def test_what_is_no_key_of_ours_is_refused(made, tmp_path, defect):
    path = tmp_path / "key"
    secret = PrivateFormat.OpenSSH.encryption_builder().kdf_rounds(1).build(PASSPHRASE.encode())
    content = {
        "garbage": b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n",
        "plain": Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()),
        "curve": ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, secret),
        "readable": made[0].read_bytes(),
        "empty": b"",
    }
    if defect == "folder":
        path.mkdir()
    elif defect != "absent":
        path.write_bytes(content[defect])
        path.chmod(0o644 if defect == "readable" else 0o600)
    with pytest.raises(InputError) as caught:
        software.open_key(path, PASSPHRASE)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_p256_signature_has_one_form():
    """(r, n - s) verifies as well as (r, s), so only the lower s counts; and a key has one text only."""
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
    from cryptography.hazmat.primitives.hashes import SHA256

    private = ec.generate_private_key(ec.SECP256R1())
    text = public.public_text(private.public_key())
    r, s = decode_dss_signature(private.sign(b"data", ec.ECDSA(SHA256())))
    good = public.low_s(r, s)
    public.verify(text, good, b"data", "here")
    r, s = decode_dss_signature(good)
    order = int("FFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551", 16)
    high = encode_dss_signature(r, order - s)
    private.public_key().verify(high, b"data", ec.ECDSA(SHA256()))
    for bad in (high, good + b"\0", good[:-1], b""):
        with pytest.raises(IntegrityError, match="here: found a signature that does not fit"):
            public.verify(text, bad, b"data", "here")


def test_a_key_has_one_text():
    import base64

    from cryptography.hazmat.primitives.serialization import PublicFormat

    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    long = base64.b64encode(key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)).decode()
    with pytest.raises(IntegrityError, match="no public key"):
        public.key_id(long)
    with pytest.raises(ValueError, match="expected P-256"):
        public.public_text(ec.generate_private_key(ec.SECP384R1()).public_key())
