"""URIs of RFC 7512, without a token."""

from __future__ import annotations

import pytest

from synguard.errors import InputError
from synguard.governance.keys import token


@pytest.mark.parametrize(
    "uri",
    [
        "pkcs11:",
        "pkcs11:token=a",
        "pkcs11:token=a;object=b",
        "pkcs11:token=;object=b?module-path=/bin/sh",
        "pkcs11:token=a;object=b;slot-id=3?module-path=/bin/sh",
        "pkcs11:token=a;object=b?module-path=/bin/sh&pin-value=1234",
    ],
)
def test_an_incomplete_uri_is_refused(uri):
    with pytest.raises(InputError, match="expected pkcs11:token=LABEL"):
        token.open_key(uri, "1234")


def test_a_module_that_is_absent_is_named(tmp_path):
    with pytest.raises(InputError, match=r"no\.so: found no file"):
        token.open_key(f"pkcs11:token=a;object=b?module-path={tmp_path / 'no.so'}", "1234")


def test_a_module_that_is_no_module_is_refused(tmp_path):
    fake = tmp_path / "fake.so"
    fake.write_bytes(b"not a library")
    with pytest.raises(InputError, match="a token that says"):
        token.open_key(f"pkcs11:token=a;object=b?module-path={fake}", "1234")
