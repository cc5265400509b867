"""`synguard index`: make the index of a private set, look at one, and hold one against the images it is said to be of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from audits.memorisation.folder import check_key, differences, faults, is_index, read_meta, read_record
from audits.memorisation.identity import holdout_identity, private_identity
from audits.memorisation.index import SearchNote
from audits.memorisation.rows import open_rows
from audits.memorisation.sealing import Key
from synguard.config import AuditConfig, DataSource, MemorisationConfig, RunConfig
from synguard.data.readers import read_images
from synguard.data.splits import split_holdout
from synguard.data.squares import Squares
from synguard.errors import InputError, IntegrityError
from synguard.runs.folder import whole_folder
from synguard.runs.material import check_different_folders, read_material
from synguard.runs.prepare import index_key, prepare_memorisation
from synguard.runs.progress import Progress
from synguard.runs.sizes import common_size

__all__ = ["IndexInfo", "VerifiedPart", "build_index", "check_key_file", "index_info", "verify_index"]


@dataclass(frozen=True, slots=True)
class IndexInfo:
    """What an index tells of itself: digests and figures, never a name of the private set.

    `arrays` holds shape and type of each array, `search` how the bank is searched, `thresholds` what the calibration set,
    `planted` copies found and planted, per transform; these four are None where the index is encrypted and no key was given.
    """

    folder: str
    made: str
    encrypted_under: str | None
    identity: Mapping[str, Any]
    bytes: Mapping[str, int]
    arrays: Mapping[str, str] | None
    search: str | None
    thresholds: Mapping[str, Any] | None
    planted: Mapping[str, tuple[int, int]] | None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def lines(self) -> list[str]:
        """For people."""
        encoder = self.identity.get("encoders", {})
        sealed = "no" if self.encrypted_under is None else f"AES-256-GCM, key {self.encrypted_under}"
        rows = [
            ("made", self.made),
            ("encoders", f"version {encoder.get('version')}"),
            *((name, str(value)) for name, value in self.identity.items() if name not in ("encoders", "configuration")),
            *((f"configuration {name}", str(value)) for name, value in self.identity.get("configuration", {}).items()),
            ("encrypted", sealed),
            *((name, f"{size:,} bytes") for name, size in self.bytes.items()),
            *((name, text) for name, text in (self.arrays or {}).items()),
            ("search", self.search or "not told without the key"),
            *((f"threshold {name}", str(value)) for name, value in (self.thresholds or {}).items()),
            *((f"planted {name}", f"found {found} of {n}") for name, (found, n) in (self.planted or {}).items()),
        ]
        return [f"{name:28} {text}" for name, text in rows]


@dataclass(frozen=True, slots=True)
class VerifiedPart:
    """One thing that was looked at, and what is wrong with it, a sentence each."""

    name: str
    faults: tuple[str, ...]


def build_index(
    *,
    private: str,
    holdout: str,
    patient: str | None,
    size: int | None,
    seed: int,
    out: Path,
    key_file: Path | None,
    progress: Progress,
    box: str | None = None,
) -> str:
    """The calibrated index in `out/index`, for `synguard audit --index out`; encrypted where there is a key. A summary."""
    if out.exists():
        raise InputError.of(out, "a folder that exists already", "a new folder for the index")
    base = Path.cwd()
    settings = AuditConfig(memorisation=MemorisationConfig(index_key=None if key_file is None else str(key_file)))
    config = _config(private, holdout, patient, box, size, seed, settings)
    check_different_folders(config, base, None)
    key = check_key_file(config, base, out)
    material = read_material(config, base, progress)
    with whole_folder(out) as scratch:
        roles, near, prepared = prepare_memorisation(material, config, scratch / "index", key, progress)
    found = f"{len(material.private)} private images at {config.image_size} px, calibrated on {len(roles.calibration)}"
    planted = ", ".join(f"{count.transform} {count.found}/{count.n}" for count in prepared.planted())
    sealed = "" if key is None else f"; encrypted under the key {key.fingerprint}"
    return (
        f"index: {out} ({found}, {len(near)} near copies left out of the holdout; planted copies found: {planted}{sealed})"
    )


def check_key_file(config: RunConfig, base: Path, out: Path) -> Key | None:
    """The key of the index. InputError where it lies in the folder that is to be written: not beside the lock."""
    path = config.audits.memorisation.index_key
    if path is not None and (base / path).resolve().is_relative_to(out.resolve()):
        raise InputError.of(base / path, f"a key inside {out}", "one that is kept elsewhere")
    return index_key(config, base)


def index_info(folder: Path, key_file: Path | None = None) -> IndexInfo:
    """What the index in `folder` tells of itself. It is not held against anything: see `verify_index`."""
    index = _locate(folder)
    meta = read_meta(index)
    key = _key(key_file, folder)
    is_open = meta["encrypted"] is None or key is not None
    record: dict[str, Any] = {}
    arrays = None
    if is_open:
        check_key(index, meta, key)
        record = read_record(index, meta, key)
        stored = {name: open_rows(index, name, key) for name in meta["arrays"]}
        arrays = {name: f"{rows.dtype} {' x '.join(map(str, rows.shape))}" for name, rows in stored.items()}
    try:
        search = SearchNote(**record["search"]["windows"]).describe() if is_open else None
        thresholds = {name: record["calibration"][name] for name in _TOLD} if is_open else None
        planted = {str(name): (int(found), int(n)) for name, n, found, _ in record["planted"]} if is_open else None
        made, identity = str(meta["made"]), dict(meta["identity"])
    except (KeyError, TypeError, ValueError) as error:
        raise IntegrityError(f"{index}: found a record of another form, expected the one of an index") from error
    return IndexInfo(
        folder=str(folder),
        made=made,
        encrypted_under=None if meta["encrypted"] is None else meta["encrypted"]["key"],
        identity=identity,
        bytes={name: (index / name).stat().st_size for name in meta["files"] if (index / name).is_file()},
        arrays=arrays,
        search=search,
        thresholds=thresholds,
        planted=planted,
    )


_TOLD = ("near", "verified", "held_on")


def verify_index(
    folder: Path,
    *,
    private: str,
    holdout: str | None,
    patient: str | None,
    size: int | None,
    key_file: Path | None,
    progress: Progress,
    box: str | None = None,
) -> tuple[VerifiedPart, ...]:
    """Whether an index is whole, owner-only, of this encoder and of these images; all parts are looked at.

    The holdout is looked at where it is given. Size and seed are those that the index records, where none is given.
    """
    index = _locate(folder)
    meta = read_meta(index)
    key = _key(key_file, folder)
    check_key(index, meta, key)
    identity = meta["identity"]
    base = Path.cwd()
    side, seed = size or identity.get("image size"), identity.get("seed")
    if not isinstance(side, int) or not isinstance(seed, int):
        raise IntegrityError(f"{index}: found a record of another form, expected the one of an index")
    parts = [VerifiedPart("files and rights", tuple(faults(index, meta, key)))]
    if holdout is None:
        progress("read private images", 0, 1)
        source = DataSource(path=private, patient=patient, box=box)
        squares = Squares(side)
        images = squares.beside(read_images(source, size=side, name="private", base=base, squares=squares))
        progress("read private images", 1, 1)
    else:
        config = _config(private, holdout, patient, box, side, seed)
        check_different_folders(config, base, None)
        material = read_material(config, base, progress)
        images = material.searched
    expected = private_identity(images)
    encoders = {"encoders": expected.pop("encoders")}
    parts.append(VerifiedPart("encoders", tuple(differences(index, meta, encoders))))
    parts.append(VerifiedPart("private set", tuple(differences(index, meta, expected))))
    if holdout is not None:
        roles = split_holdout(material.holdout, seed)
        of_holdout = holdout_identity(roles.calibration, material.holdout)
        parts.append(VerifiedPart("holdout", tuple(differences(index, meta, of_holdout))))
    return tuple(parts)


def _config(
    private: str,
    holdout: str,
    patient: str | None,
    box: str | None,
    size: int | None,
    seed: int,
    audits: AuditConfig | None = None,
) -> RunConfig:
    sources = [DataSource(path=private, patient=patient, box=box), DataSource(path=holdout, patient=patient)]
    side = size or common_size(sources, Path.cwd())
    return RunConfig(seed=seed, image_size=side, private=sources[0], holdout=sources[1], audits=audits or AuditConfig())


def _locate(folder: Path) -> Path:
    """The index in a folder of `synguard index build`, or in a run folder."""
    if is_index(folder / "index"):
        return folder / "index"
    raise InputError.of(folder, "no index", "a folder that `synguard index build` made, or a run's")


def _key(path: Path | None, folder: Path) -> Key | None:
    if path is not None and path.resolve().is_relative_to(folder.resolve()):
        raise InputError.of(path, f"a key inside {folder}", "one that is kept elsewhere")
    return None if path is None else Key.read(path)
