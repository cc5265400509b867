"""After a release: which runs, models and releases a patient was in, and a signed notice that takes these back.

The notice is for everybody who has a copy, so it names digests and a reason, never the patient.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from synguard.config import DataSource
from synguard.data.readers import read_images
from synguard.errors import ApprovalError, InputError, IntegrityError
from synguard.governance import envelope
from synguard.governance.files import read_json, sha256_of, write_private
from synguard.governance.keys.public import Signer
from synguard.governance.keys.trust import Trust
from synguard.governance.sign_off import Book
from synguard.release.make import RELEASES
from synguard.release.statement import check_publisher, read_published

__all__ = ["Affected", "check_not_recalled", "find_affected", "recall"]

PREDICATE_TYPE = "urn:synguard:recall:v1"
_CARD = "generator/model_card.json"
_SHORTEST_REASON = 10


@dataclass(frozen=True, slots=True)
class Affected:
    """Runs that a patient was in. `releases` are digests of manifests, `models` those of model cards, by run folder.

    `unknown` are runs on another private set than the one that was looked at: the patient may be there too.
    """

    runs: tuple[Path, ...]
    releases: Mapping[str, Path]
    models: Mapping[str, Path]
    unknown: tuple[Path, ...]

    def lines(self) -> list[str]:
        """In words."""
        lines = [f"run {run}: the patient was in its private set" for run in self.runs]
        lines += [f"model {digest[:16]} of {run}" for digest, run in self.models.items()]
        lines += [f"release {digest[:16]} of {run}" for digest, run in self.releases.items()]
        return lines + [f"not told: {run} was made of another private set, look at that one too" for run in self.unknown]


def find_affected(runs: Path, private: DataSource, patient: str, trust: Trust) -> Affected:
    """The finished runs below a folder whose private set is `private` and holds the patient, and what came of them.

    Raises InputError where the set names no patients or not this one, or there is no run; IntegrityError where the record of
    a release was changed.
    """
    if private.patient is None:
        raise InputError.of("private", "no column with patient ids", "the column that names patients")
    folders = sorted(path.parent for path in runs.rglob("results.json") if (path.parent / "run.json").is_file())
    if not folders:
        raise InputError.of(runs, "no finished run", "the folder that the runs lie in")
    digests: dict[int, str] = {}
    hit: list[Path] = []
    unknown: list[Path] = []
    for folder in folders:
        size = int(read_json(folder / "run.json")["config"].get("image_size") or 0)
        if size and size not in digests:
            images = read_images(private, size=size, name="private")
            if patient not in set(images.patients.tolist()):
                raise InputError.of("patient", "nobody of that id in the private set", f"an id of column {private.patient}")
            digests[size] = images.digest
        recorded = read_json(folder / "results.json")["data"].get("private", {}).get("sha256")
        (hit if size and recorded == digests[size] else unknown).append(folder)
    releases = {digest: folder for folder in hit for digest in _releases(folder, trust)}
    models = {sha256_of(folder / _CARD): folder for folder in hit if (folder / _CARD).is_file()}
    return Affected(tuple(hit), releases, models, tuple(unknown))


def recall(
    out: Path,
    affected: Affected,
    trust: Trust,
    key: Signer,
    *,
    reason: str,
    now: datetime,
    book: Book | None = None,
) -> bytes:
    """Writes a signed notice that takes releases and models back. Anybody may read it.

    Raises InputError where there is nothing to recall, the reason is short or the file exists, and ApprovalError where the
    key is no publisher's.
    """
    if not affected.releases and not affected.models:
        raise InputError.of("withdraw", "no release and no model", "something to recall")
    if len(reason) < _SHORTEST_REASON:
        raise InputError.of("reason", repr(reason), f"{_SHORTEST_REASON} characters or more, fit for everybody to read")
    if out.exists():
        raise InputError.of(out, "a file that exists already", "a new file for the notice")
    check_publisher(key.key_id, "key", trust, now.astimezone(UTC).date())
    data = envelope.sign(_notice(sorted(affected.releases), sorted(affected.models), reason, now), key)
    write_private(out, data)
    out.chmod(0o644)
    if book is not None:
        for folder in affected.runs:
            run = read_json(folder / "run.json")["id"]
            book.append("recall", {"run": run, "releases": sorted(affected.releases), "models": sorted(affected.models)})
    return data


def check_not_recalled(manifest: str, notices: Sequence[Path], trust: Trust) -> None:
    """Raises ApprovalError where a notice takes back the release with that manifest, IntegrityError for a bad notice."""
    for path in notices:
        try:
            data = path.read_bytes()
        except OSError as error:
            raise InputError.of(path, f"no file that can be read ({error.strerror})", "a recall notice") from error
        holder = trust.holder(envelope.signed_by(data, str(path)))
        if holder is None:
            raise ApprovalError(f"{path}: found a notice by a key of nobody in the trust file, expected a publisher's")
        stated = envelope.verify(data, holder[1].public, str(path))
        try:
            said = stated["predicate"]
            day = datetime.fromisoformat(said["withdrawn"])
            expected = _notice(said["releases"], said["models"], said["reason"], day)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise IntegrityError(f"{path}: found a statement in another form, expected a recall notice") from error
        if expected != stated:
            raise IntegrityError(f"{path}: found a statement about something else, expected a recall notice")
        check_publisher(envelope.signed_by(data, str(path)), path, trust, day.astimezone(UTC).date())
        if manifest in said["releases"]:
            raise ApprovalError(f"{path}: found that this release was withdrawn on {day.date()}: {said['reason']}")


def _notice(releases: Sequence[str], models: Sequence[str], reason: str, now: datetime) -> dict[str, Any]:
    named = {f"release {digest[:16]}": digest for digest in releases} | {f"model {digest[:16]}": digest for digest in models}
    withdrawn = now.astimezone(UTC).isoformat(timespec="seconds")
    predicate = {"releases": list(releases), "models": list(models), "reason": reason, "withdrawn": withdrawn}
    return envelope.statement(named, PREDICATE_TYPE, predicate)


def _releases(folder: Path, trust: Trust) -> list[str]:
    """Digests of the manifests of what was released from a run, as the run remembers."""
    paths = sorted((folder / RELEASES).glob("*.dsse.json")) if (folder / RELEASES).is_dir() else []
    return [read_published(path.read_bytes(), str(path), trust)[0].manifest for path in paths]
