"""Deciding again: people can add to what an audit found, and never take away."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from synguard.errors import InputError, IntegrityError
from synguard.governance import manifest
from synguard.governance.files import canonical, sha256_of
from synguard.governance.ledger import Ledger
from synguard.governance.policy import parse_policy
from synguard.governance.record import verify_results
from synguard.runs import decided, gate
from synguard.runs.gate import decide_again
from tests.support.governed import signed_anew
from tests.support.reviewed import ASKS_NOBODY, ASKS_READERS, RUN, digests, reviewed_run, say
from tests.support.runs import fundus, png

WAIVER = f"""\
waivers:
  - id: w-1
    check: read
    ceiling: {{above: 5 pairs}}
    reason: Nobody was there to look at these three pairs.
    owner: p.ito
    approver: a.osei
    issued: {date.today()}
    expires: {date.today() + timedelta(days=30)}
""".encode()


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return Ledger.open(tmp_path / "ledger" / "ledger.sqlite")


def settle(ledger: Ledger, run: Path, verdict: str = "alike by chance") -> None:
    for name in ("ann", "bob"):
        say(ledger, name, dict.fromkeys(digests(run, "flagged"), verdict) | dict.fromkeys(digests(run, "known"), "copy"))


def decisions(ledger: Ledger) -> list[str]:
    return [entry.payload["status"] for entry in ledger.entries("decision", RUN)]


def test_a_policy_can_ask_for_readers(tmp_path: Path, ledger: Ledger):
    run = reviewed_run(tmp_path / "run", ledger, policy=ASKS_READERS)
    assert decisions(ledger) == ["insufficient"]
    assert decide_again(run, ledger=ledger.place).decision.exit_code == 20, "three pairs are open"
    settle(ledger, run)
    result = decide_again(run, ledger=ledger.place)
    assert (result.decision.status, result.decision.exit_code) == ("pass", 0)
    assert decisions(ledger) == ["insufficient", "fail", "pass"]
    assert [json.loads((run / f"results.{n}.json").read_text())["decision"]["status"] for n in (1, 2)] == [
        "insufficient",
        "fail",
    ]
    assert verify_results(run)["decision"]["status"] == "pass"
    assert ledger.verify() == ()
    assert not (run / decided.PENDING).exists()
    assert "ann" in (run / "report" / "internal.html").read_text()
    public = (run / "report" / "public.html").read_text()
    assert "no copies" in public.lower()
    assert not any(name in public for name in (">ann", " ann ", ">bob", " bob "))


def test_deciding_again_changes_nothing_where_nothing_was_said(tmp_path: Path, ledger: Ledger):
    run = reviewed_run(tmp_path / "run", ledger)
    decide_again(run, ledger=ledger.place)
    before = {path.name: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    head = ledger.head()
    decide_again(run, ledger=ledger.place)
    assert {path.name: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    assert ledger.head() == head


def test_a_verified_copy_is_never_cleared(tmp_path: Path, ledger: Ledger):
    run = reviewed_run(tmp_path / "run", ledger, flagged=1)
    before = {m["name"]: m for m in verify_results(run)["metrics"] if m["group"] is None}
    settle(ledger, run)
    decide_again(run, ledger=ledger.place)
    after = {m["name"]: m for m in verify_results(run)["metrics"] if m["group"] is None}
    assert after["memorisation.verified_copies"] == before["memorisation.verified_copies"]
    assert after["memorisation.verified_copies"]["value"] == 1


def test_a_copy_that_two_readers_confirm_fails_under_any_policy(tmp_path: Path, ledger: Ledger):
    run = reviewed_run(tmp_path / "run", ledger)
    assert decisions(ledger) == ["pass"]
    say(ledger, "ann", {digests(run, "flagged")[0]: "copy"})
    assert decide_again(run, ledger=ledger.place).passed, "one reader alone confirms nothing"
    say(ledger, "bob", {digests(run, "flagged")[0]: "copy"})
    result = decide_again(run, ledger=ledger.place)
    assert result.decision.exit_code == 20
    (check,) = [check for check in result.decision.checks if check.status == "fail"]
    assert (check.metric, check.group, check.blocker) == ("review.copies_confirmed", "accepted", True)


def test_a_looser_policy_is_refused_and_a_new_waiver_is_not(tmp_path: Path, ledger: Ledger):
    run = reviewed_run(tmp_path / "run", ledger, policy=ASKS_READERS)
    other = tmp_path / "policy.yaml"
    other.write_bytes(ASKS_NOBODY)
    with pytest.raises(InputError, match=r"found a looser one \(read: the check was there"):
        decide_again(run, str(other), ledger=ledger.place)
    assert decisions(ledger) == ["insufficient"]
    other.write_bytes(ASKS_READERS + WAIVER)
    result = decide_again(run, str(other), ledger=ledger.place)
    assert [check.waiver for check in result.decision.checks if check.status == "waived"] == ["w-1"]


def test_a_waiver_by_the_name_of_what_got_looser_excuses_nothing(tmp_path: Path, ledger: Ledger):
    run = reviewed_run(tmp_path / "run", ledger, policy=ASKS_READERS.replace(b"1 person", b"2 people"))
    other = tmp_path / "policy.yaml"
    other.write_bytes(ASKS_READERS + WAIVER.replace(b"id: w-1", b"id: policy"))
    with pytest.raises(InputError, match="the number of approvals as privacy-officer was 2, is now 1"):
        decide_again(run, str(other), ledger=ledger.place)
    other.write_bytes(
        ASKS_READERS.replace(b"1 person", b"2 people").replace(b"above: 0 pairs", b"above: 9 pairs")
        + WAIVER.replace(b"id: w-1", b"id: read").replace(b"above: 5 pairs", b"above: 12 pairs")
    )
    with pytest.raises(InputError, match="read: the fail limit was above 0 pairs, is now above 9 pairs"):
        decide_again(run, str(other), ledger=ledger.place)


def test_another_policy(tmp_path: Path, ledger: Ledger):
    run = reviewed_run(tmp_path / "run", ledger)
    other = tmp_path / "policy.yaml"
    other.write_bytes(ASKS_READERS)
    assert decide_again(run, str(other), ledger=ledger.place).decision.exit_code == 20
    assert json.loads((run / "policy.json").read_text())["checks"][1]["id"] == "read"
    assert decide_again(run, ledger=ledger.place).decision.exit_code == 20, "it is the run's own from now on"


def killed(run: Path, ledger: Ledger, moved: int, policy: str | None = None) -> None:
    """Decides again, and is killed after so many moved files, also after all of them and before the ledger knows."""
    original, count = Path.replace, 0

    def moving(self: Path, target: Path) -> Path:
        nonlocal count
        if self.parent.name == decided.PENDING:
            count += 1
            if count > moved:
                raise KeyboardInterrupt
        return original(self, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "replace", moving)
        patch.setattr(gate.RunLedger, "decided_again", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            decide_again(run, policy, ledger=ledger.place)


@pytest.mark.parametrize("moved", range(10))
def test_a_decision_that_was_killed_is_completed(tmp_path: Path, ledger: Ledger, moved: int):
    run = reviewed_run(tmp_path / "run", ledger, policy=ASKS_READERS)
    settle(ledger, run)
    killed(run, ledger, moved)
    result = decide_again(run, ledger=ledger.place)
    assert result.decision.status == "pass"
    assert decisions(ledger) == ["insufficient", "pass"]
    assert not (run / decided.PENDING).exists()
    assert "earlier decision" not in (run / "report" / "public.html").read_text()
    assert [path.name for path in sorted(run.glob("results.[0-9]*.json"))] == ["results.1.dsse.json", "results.1.json"]


@pytest.mark.parametrize("moved", [0, 2, 4, 6, 8])
def test_a_decision_by_another_policy_that_was_killed_is_completed(tmp_path: Path, ledger: Ledger, moved: int):
    run = reviewed_run(tmp_path / "run", ledger)
    other = tmp_path / "policy.yaml"
    other.write_bytes(ASKS_READERS)
    killed(run, ledger, moved, str(other))
    assert decide_again(run, ledger=ledger.place).decision.exit_code == 20
    assert decisions(ledger) == ["pass", "fail"]
    settle(ledger, run)
    killed(run, ledger, moved)
    killed(run, ledger, 9)
    assert decide_again(run, ledger=ledger.place).passed
    assert decisions(ledger) == ["pass", "fail", "pass"]


def rewritten(run: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Other results, as if a decision had been interrupted: those that the ledger knows are there under a number."""
    if not (run / "results.1.json").exists():
        shutil.copyfile(run / "results.json", run / "results.1.json")
    document = json.loads((run / "results.json").read_bytes())
    change(document)
    (run / "results.json").write_bytes(canonical(document))


def another_policy(run: Path, policy: bytes) -> None:
    """The policy under which nobody is asked, named by the results as theirs."""
    shutil.copyfile(run / "policy.json", run / "policy.1.json")
    limits = parse_policy(policy, "policy.yaml")
    (run / "policy.json").write_bytes(limits.to_bytes())
    rewritten(run, lambda document: document["policy"].update(digest=limits.digest))


def exchanged(run: Path) -> None:
    (run / "accepted" / "images" / "last.png").write_bytes(png(fundus(5)))
    manifest.write(manifest.build(run / "accepted"), run / "manifest.json")


def accepted_all(run: Path) -> None:
    pd.read_parquet(run / "images.parquet").assign(accepted=True).to_parquet(run / "images.parquet")


FORGED: dict[str, tuple[str, Callable[[Path], object]]] = {
    "figure": ("results.json", lambda run: rewritten(run, lambda found: found["metrics"][0].update(value=0.0))),
    "one figure less": ("results.json", lambda run: rewritten(run, lambda found: found["metrics"].pop(0))),
    "released": ("results.json", lambda run: rewritten(run, lambda found: found["released"].append("model"))),
    "data": ("results.json", lambda run: rewritten(run, lambda found: found["data"].update(link="sworn"))),
    "form": ("results of another form", lambda run: rewritten(run, lambda found: found.pop("policy"))),
    "looser policy": ("policy.json", lambda run: another_policy(run, ASKS_NOBODY)),
    "policy alone": (
        "policy.json",
        lambda run: (run / "policy.json").write_bytes(parse_policy(ASKS_NOBODY, "policy.yaml").to_bytes()),
    ),
    "image": ("manifest.json", exchanged),
    "table": ("images.parquet", accepted_all),
    "pairs": ("evidence.json", lambda run: (run / "evidence.json").write_bytes(canonical({"memorisation": {}}))),
}


@pytest.mark.parametrize("what", FORGED)
@pytest.mark.parametrize("numbered", [False, True], ids=["", "and kept by number"])
def test_what_was_signed_anew_is_held_against_the_ledger(tmp_path: Path, ledger: Ledger, what: str, numbered: bool):
    """The key is in run.json, so that whoever writes to the folder can sign."""
    run = reviewed_run(tmp_path / "run", ledger, policy=ASKS_READERS, flagged=1)
    name, forge = FORGED[what]
    if numbered:
        rewritten(run, lambda document: document["decision"].update(status="pass", exit_code=0))
    forge(run)
    signed_anew(run)
    with pytest.raises(IntegrityError, match=name) as caught:
        decide_again(run, ledger=ledger.place)
    assert caught.value.exit_code == 30
    assert decisions(ledger) == ["insufficient"]


@pytest.mark.parametrize("what", ["figure", "looser policy"])
def test_a_forged_decision_is_not_moved_into_the_run(tmp_path: Path, ledger: Ledger, what: str):
    run = reviewed_run(tmp_path / "run", ledger, policy=ASKS_READERS, flagged=1)
    forged = tmp_path / "forged"
    shutil.copytree(run, forged)
    name, forge = FORGED[what]
    forge(forged)
    signed_anew(forged)
    (run / decided.PENDING).mkdir()
    for path in [*forged.glob("results*.json"), *forged.glob("policy*.json"), forged / "run.json"]:
        shutil.copyfile(path, run / decided.PENDING / path.name)
    before = {path: sha256_of(path) for path in run.iterdir() if path.is_file()}
    with pytest.raises(IntegrityError, match=rf"{decided.PENDING}/{name}"):
        decide_again(run, ledger=ledger.place)
    assert decisions(ledger) == ["insufficient"]
    assert {path: sha256_of(path) for path in run.iterdir() if path.is_file()} == before


@pytest.mark.parametrize("name", ["manifest.json", "images.parquet", "config.json", "accepted", "results.json.png"])
def test_what_no_decision_consists_of_is_not_moved_into_the_run(tmp_path: Path, ledger: Ledger, name: str):
    run = reviewed_run(tmp_path / "run", ledger)
    (run / decided.PENDING).mkdir()
    (run / decided.PENDING / name).write_bytes(b"{}")
    with pytest.raises(IntegrityError, match=f"{name}: found what no decision consists of"):
        decide_again(run, ledger=ledger.place)


def test_a_run_that_does_not_fit_its_ledger(tmp_path: Path, ledger: Ledger):
    run = reviewed_run(tmp_path / "run", ledger)
    kept = tmp_path / "kept"
    shutil.copytree(run, kept)
    settle(ledger, run, "same patient")
    decide_again(run, ledger=ledger.place)
    assert decided.book_of(run, ledger.place).id == ledger.id
    with pytest.raises(IntegrityError, match="no decision on"):
        decide_again(kept, ledger=ledger.place)


def test_a_changed_picture_of_the_release(tmp_path: Path, ledger: Ledger):
    run = reviewed_run(tmp_path / "run", ledger)
    (run / "accepted" / "images" / "last.png").write_bytes(png(fundus(5)))
    with pytest.raises(IntegrityError):
        decide_again(run, ledger=ledger.place)


def test_no_run(tmp_path: Path, ledger: Ledger):
    with pytest.raises(InputError, match="finished run"):
        decide_again(tmp_path, ledger=ledger.place)
