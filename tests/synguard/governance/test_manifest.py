"""The manifest: exactly these files, byte for byte, and nothing else."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synguard.errors import IntegrityError
from synguard.governance import manifest

CONTENT = {"images/a.png": b"a" * 100, "images/b.png": b"", "metadata.jsonl": b"{}\n"}


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "accepted"
    for name, data in CONTENT.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def test_every_file_sorted_with_size_and_digest(folder):
    found = manifest.build(folder)
    assert [(e.path, e.size) for e in found.files] == [("images/a.png", 100), ("images/b.png", 0), ("metadata.jsonl", 3)]
    assert found.files[1].sha256 == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert manifest.build(folder).digest == found.digest


def test_it_comes_back_from_its_file_and_verifies(folder, tmp_path):
    path = tmp_path / "manifest.json"
    manifest.write(manifest.build(folder), path)
    found = manifest.read(path)
    assert found == manifest.build(folder)
    assert path.stat().st_mode & 0o777 == 0o600
    manifest.verify(folder, found)


def extra(root):
    (root / "images" / "c.png").write_bytes(b"c")
    return "images/c.png: an extra file"


def hidden(root):
    (root / ".hidden").write_bytes(b"")
    return ".hidden: an extra file"


def missing(root):
    (root / "images" / "b.png").unlink()
    return "images/b.png: missing"


def changed(root):
    (root / "images" / "a.png").write_bytes(b"a" * 99 + b"b")
    return "images/a.png: changed"


def longer(root):
    (root / "images" / "b.png").write_bytes(b"b")
    return "images/b.png: changed (1 bytes, expected 0"


def renamed(root):
    (root / "images" / "a.png").rename(root / "images" / "z.png")
    return "images/z.png: an extra file; images/a.png: missing"


def swapped(root):
    one, two = root / "images" / "a.png", root / "images" / "b.png"
    a, b = one.read_bytes(), two.read_bytes()
    one.write_bytes(b)
    two.write_bytes(a)
    return "images/a.png: changed"


def file_link(root):
    (root / "images" / "b.png").unlink()
    (root / "images" / "b.png").symlink_to(root / "images" / "a.png")
    return "b.png: found a link"


def folder_link(root):
    (root / "more").symlink_to(root / "images")
    return "more: found a link"


def pipe(root):
    os.mkfifo(root / "pipe")
    return "pipe: found something that is no plain file"


def case_clash(root):
    (root / "images" / "A.png").write_bytes(b"")
    return "some systems cannot tell from"


def unicode_clash(root):
    for name in ("caf\u00e9.png", "cafe\u0301.png"):
        (root / name).write_bytes(b"")
    return "some systems cannot tell from"


def line_break(root):
    (root / "a\nb.png").write_bytes(b"")
    return "expected a plain relative path"


def backslash(root):
    (root / "a\\b.png").write_bytes(b"")
    return "expected a plain relative path"


UNRELEASABLE = [file_link, folder_link, pipe, case_clash, unicode_clash, line_break, backslash]
TAMPERINGS = [extra, hidden, missing, changed, longer, renamed, swapped, *UNRELEASABLE]


@pytest.mark.parametrize("tamper", TAMPERINGS)
def test_tampering_is_refused_by_name(folder, tamper):
    before = manifest.build(folder)
    message = tamper(folder)
    with pytest.raises(IntegrityError) as caught:
        manifest.verify(folder, before)
    assert message in str(caught.value)
    assert caught.value.exit_code == 30
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("tamper", UNRELEASABLE)
def test_what_cannot_be_released_gets_no_manifest(folder, tamper):
    tamper(folder)
    with pytest.raises(IntegrityError):
        manifest.build(folder)


def test_many_differences_are_counted(folder):
    before = manifest.build(folder)
    for i in range(20):
        (folder / f"{i:02}.png").write_bytes(b"")
    with pytest.raises(IntegrityError, match="and 15 more"):
        manifest.verify(folder, before)


def test_a_link_to_a_folder_is_no_folder(folder, tmp_path):
    (tmp_path / "link").symlink_to(folder)
    for path in (tmp_path / "link", tmp_path / "absent"):
        with pytest.raises(IntegrityError, match="found no folder"):
            manifest.build(path)


@given(st.data())
@settings(max_examples=40)
def test_every_changed_byte_of_the_manifest_is_noticed(tmp_path_factory, data):
    root = tmp_path_factory.mktemp("m")
    (root / "f").mkdir()
    for name in ("a.png", "b.png"):
        (root / "f" / name).write_bytes(name.encode())
    path = root / "manifest.json"
    manifest.write(manifest.build(root / "f"), path)
    content = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(bytes(content))
    with pytest.raises(IntegrityError):
        manifest.verify(root / "f", manifest.read(path))


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/../../b", "a//b", "./a", ""])
def test_a_manifest_that_points_elsewhere_is_refused(tmp_path, name):
    path = tmp_path / "manifest.json"
    manifest.write(manifest.Manifest((manifest.Entry(name, "0" * 64, 1),)), path)
    with pytest.raises(IntegrityError, match="expected a plain relative path"):
        manifest.read(path)


@pytest.mark.parametrize("names", [("b", "a"), ("a", "a")])
def test_a_manifest_that_is_not_sorted_or_repeats_itself_is_refused(tmp_path, names):
    path = tmp_path / "manifest.json"
    manifest.write(manifest.Manifest(tuple(manifest.Entry(name, "0" * 64, 1) for name in names)), path)
    with pytest.raises(IntegrityError, match="another form"):
        manifest.read(path)
