"""`synguard index`: build, info, verify, key; and an audit that uses what was built."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from PIL import Image

from synguard.commands.main import main
from synguard.config import AuditConfig, DataSource, MemorisationConfig, RunConfig
from synguard.data.phantom import write_phantoms
from synguard.errors import InputError, IntegrityError
from synguard.runs.index import build_index, index_info, verify_index
from synguard.runs.material import read_material
from synguard.runs.prepare import index_key, prepare_memorisation
from synguard.runs.progress import silent


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("index")
    write_phantoms(folder / "private", patients=20, images_per_patient=2, size=32, seed=5)
    write_phantoms(folder / "holdout", patients=30, images_per_patient=2, size=32, seed=5, first_patient=20)
    return folder


@pytest.fixture(scope="module")
def key(world: Path) -> Path:
    assert command("index", "key", world / "key") == 0
    return world / "key"


@pytest.fixture(scope="module")
def built(world: Path, key: Path) -> Path:
    """An encrypted index."""
    told = build_index(
        private=str(world / "private"),
        holdout=str(world / "holdout"),
        patient="patient",
        size=None,
        seed=3,
        out=world / "sealed",
        key_file=key,
        progress=silent,
    )
    assert "40 private images at 32 px" in told
    assert "encrypted under the key" in told
    return world / "sealed"


def command(*arguments: object) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["synguard", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
    return int(ended.value.code or 0)


def verify(built: Path, world: Path, key: Path, **changes: object) -> dict[str, tuple[str, ...]]:
    given = {"private": str(world / "private"), "holdout": str(world / "holdout"), "patient": "patient", "size": None}
    parts = verify_index(built, key_file=key, progress=silent, **(given | changes))
    return {part.name: part.faults for part in parts}


def test_info_names_no_image(built, world, key, capsys):
    assert command("index", "info", built, "--json", "--key-file", key) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["identity"]["encoders"]["version"]
    assert told["identity"]["image size"] == 32
    assert told["identity"]["seed"] == 3
    assert len(told["identity"]["private set"]) == 64
    assert told["search"].startswith("exact search of")
    assert "40 images" in told["search"]
    assert set(told["thresholds"]) == {"near", "verified", "held_on"}
    assert told["planted"]["identity"][1] > 0
    assert command("index", "info", built, "--key-file", key) == 0
    text = capsys.readouterr().out
    assert "AES-256-GCM" in text
    names = [path.stem for path in (world / "private").rglob("*.png")]
    assert not any(name in text or name in json.dumps(told) for name in names)


def test_info_without_the_key_tells_digests_only(built):
    info = index_info(built)
    assert info.encrypted_under is not None
    assert len(info.identity["private set"]) == 64
    assert (info.arrays, info.search, info.thresholds, info.planted) == (None,) * 4
    assert any("not told without the key" in line for line in info.lines())


def test_a_sound_index_is_verified(built, world, key, capsys):
    assert verify(built, world, key) == {"files and rights": (), "encoders": (), "private set": (), "holdout": ()}
    arguments = ("index", "verify", built, "--private", world / "private", "--patient", "patient", "--key-file", key)
    assert command(*arguments, "--quiet") == 0
    assert "private set: as recorded" in capsys.readouterr().out
    assert command(*arguments, "--quiet", "--json") == 0
    assert json.loads(capsys.readouterr().out)["verified"] is True


def test_a_changed_private_set_ends_with_30(built, world, key, tmp_path, capsys):
    shutil.copytree(world / "private", tmp_path / "private")
    path = next((tmp_path / "private").rglob("*.png"))
    image = Image.open(path).convert("RGB")
    image.putpixel((3, 3), (1, 2, 3))
    image.save(path)
    code = command(
        "index", "verify", built, "--private", tmp_path / "private", "--patient", "patient", "--key-file", key, "--quiet"
    )
    out = capsys.readouterr().out
    assert code == 30
    assert "private set: " in out
    assert "found an index with another private set" in out
    assert "encoders: as recorded" in out


def test_everything_that_differs_is_named(built, world, key, tmp_path, monkeypatch):
    shutil.copytree(built, tmp_path / "index")
    (tmp_path / "index" / "index").chmod(0o755)
    path = tmp_path / "index" / "index" / "windows.npy.enc"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    monkeypatch.setattr("audits.memorisation.identity.ENCODERS", {"version": 99})
    found = verify(tmp_path / "index", world, key, holdout=str(world / "private"), private=str(world / "holdout"))
    assert "755" in "".join(found["files and rights"])
    assert "another content" in "".join(found["files and rights"])
    assert "another encoders" in found["encoders"][0]
    assert "another private set" in found["private set"][0]
    assert "another calibration set" in found["holdout"][0]
    assert "another image size" in verify(built, world, key, holdout=None, size=64)["private set"][0]


def test_bad_input_is_named(built, world, key, tmp_path, capsys):
    for arguments, code, part in (
        (("info", tmp_path), 2, "found no index, expected a folder that `synguard index build` made"),
        (("verify", built, "--private", world / "private"), 2, "found an encrypted index, expected its key"),
        (("info", built, "--key-file", tmp_path / "none"), 2, "No such file"),
        (("key", key), 2, "File exists"),
    ):
        assert command("index", *arguments) == code
        message = capsys.readouterr().err.strip()
        assert part in message
        assert len(message.splitlines()) == 1
    assert command("index", "key", tmp_path / "other") == 0
    assert command("index", "info", built, "--key-file", tmp_path / "other") == 30


def test_a_key_beside_the_lock_is_refused(built, world, key):
    inside = built / "key"
    shutil.copy2(key, inside)
    with pytest.raises(InputError, match="found a key inside"):
        index_info(built, inside)
    inside.unlink()


def test_an_audit_uses_it_with_the_key_and_with_no_other(built, world, key, tmp_path):
    sources = [DataSource(path=str(world / name), patient="patient") for name in ("private", "holdout")]

    def config(path: Path | None) -> RunConfig:
        audits = AuditConfig(memorisation=MemorisationConfig(index_key=None if path is None else str(path)))
        return RunConfig(seed=3, image_size=32, private=sources[0], holdout=sources[1], audits=audits)

    def prepared(path: Path | None):
        settings = config(path)
        return prepare_memorisation(material, settings, built / "index", index_key(settings, Path()), silent)

    material = read_material(config(None), Path(), silent)
    _, _, again = prepared(key)
    assert "calibration" not in again.seconds
    found = again.search(again.private.pixels[:2]).matches
    assert found.image.tolist() == [0, 1]
    with pytest.raises(InputError, match="encrypted index"):
        prepared(None)
    assert command("index", "key", tmp_path / "other") == 0
    with pytest.raises(IntegrityError, match="under the key"):
        prepared(tmp_path / "other")
    assert {path.suffix for path in (built / "index").iterdir()} == {".enc", ".json"}
