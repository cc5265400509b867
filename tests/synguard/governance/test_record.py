"""results.json and run.json: same input, same bytes; signed; owner-only; whole or absent."""

from __future__ import annotations

import base64
import json
import os
import stat
from dataclasses import fields, replace
from importlib import resources

import jsonschema
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from synguard.errors import IntegrityError
from synguard.governance import envelope, files, record
from synguard.governance.gate import decide
from synguard.governance.keys.public import key_id
from synguard.governance.keys.software import new_key
from synguard.governance.record import ResultsContext, RunRecord, read_run, verify_results, write_results, write_run
from synguard.results import CheckResult, Metric

SCHEMAS = resources.files("synguard.governance") / "schemas"


def schema(name):
    found = json.loads((SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(found)
    return jsonschema.Draft202012Validator(found)


@pytest.fixture
def metrics(clean_metrics):
    found = list(clean_metrics().values())
    unseen = Metric(name="memorisation.minimum_detectable_copies", value=float("inf"), n=0, unit="copies", method="m")
    return [*found, unseen]


@pytest.fixture
def context(policy):
    return ResultsContext(policy=policy, released=("images",), data={"private": {"images": 1000, "sha256": "ab"}})


@pytest.fixture
def decision(policy, metrics):
    return decide(policy, metrics, released=["images"])


@pytest.fixture
def run(tmp_path, decision, metrics, context):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "manifest.json").write_text("{}", encoding="utf-8")
    key = write_results(folder, decision, metrics, context, sign_too=("manifest.json",))
    write_run(folder, RunRecord(id="r1", state="complete", config={"seed": 1}, results_key=key))
    return folder


def test_results_follow_their_schema(run):
    found = json.loads((run / "results.json").read_bytes())
    schema("results").validate(found)
    assert found["decision"]["status"] == "pass"
    assert found["policy"]["name"] == "public-release"
    assert {"id", "metric", "group", "value", "interval", "limit", "status", "reason"} <= set(found["checks"][0])
    assert {"name", "group", "value", "interval", "confidence", "n", "unit", "method"} <= set(found["metrics"][0])
    names = [(row["name"], row["group"] or "") for row in found["metrics"]]
    assert names == sorted(names)


def test_schemas_know_every_field_of_the_typed_results():
    defs = schema("results").schema["$defs"]
    assert set(defs["check"]["properties"]) == {field.name for field in fields(CheckResult)}
    assert set(defs["metric"]["properties"]) == {field.name for field in fields(Metric)}
    run_keys = {field.name for field in fields(RunRecord)} | {"schema_version", "config_sha256"}
    assert set(schema("run").schema["properties"]) == run_keys


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.pop("decision"),
        lambda d: d.update(extra=1),
        lambda d: d["decision"].update(status="fine"),
        lambda d: d["decision"].update(reasons=[]),
        lambda d: d["checks"].clear(),
        lambda d: d["metrics"][0].update(n=-1),
    ],
)
def test_the_schema_refuses_what_is_no_result(run, change):
    found = json.loads((run / "results.json").read_bytes())
    change(found)
    assert not schema("results").is_valid(found)


def test_same_input_same_bytes_and_nothing_of_time_or_place(tmp_path, decision, metrics, context):
    for name in ("one", "two"):
        write_results(tmp_path / name, decision, metrics if name == "one" else metrics[::-1], context)
    one, two = ((tmp_path / name / "results.json").read_bytes() for name in ("one", "two"))
    assert one == two
    assert str(tmp_path).encode() not in one
    assert (tmp_path / "one" / "results.dsse.json").read_bytes() != (tmp_path / "two" / "results.dsse.json").read_bytes()


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("/home/ann/data/private/a.png: found nothing", "…/a.png: found nothing"),
        ("cannot read C:\\data\\x.npz", "cannot read …/x.npz"),
        ("cannot read ~/data/x.npz.", "cannot read …/x.npz."),
        ("private/a.png and holdout/b.png", "private/a.png and holdout/b.png"),
        ("one and/or two, 3 / 4", "one and/or two, 3 / 4"),
    ],
)
def test_absolute_paths_in_notes_are_cut(policy, clean_metrics, context, text, kept):
    found = clean_metrics()
    key = ("memorisation.near_copy_rate", None)
    found[key] = replace(found[key], state="error", note=text)
    measured = list(found.values())
    document = record.results_document(decide(policy, measured, released=["images"]), measured, context)
    assert next(row["note"] for row in document["metrics"] if row["name"] == key[0]) == kept
    assert kept in document["decision"]["reasons"][0]


def test_infinite_is_text_and_nan_is_refused(tmp_path, run, decision, metrics, context):
    rows = json.loads((run / "results.json").read_bytes())["metrics"]
    assert next(row["value"] for row in rows if row["name"].endswith("minimum_detectable_copies")) == "inf"
    nan = [replace(metrics[0], value=float("nan"))]
    with pytest.raises(ValueError, match="NaN"):
        write_results(tmp_path / "other", decision, nan, context)
    assert not (tmp_path / "other").exists()


def test_the_run_folder_is_for_its_owner_alone(run):
    assert stat.S_IMODE(run.stat().st_mode) == 0o700
    for name in ("results.json", "results.dsse.json", "run.json"):
        assert stat.S_IMODE((run / name).stat().st_mode) == 0o600


def test_a_run_that_is_untouched_verifies(run):
    assert verify_results(run)["decision"]["exit_code"] == 0


def test_no_private_key_is_left(run):
    public = json.loads((run / "run.json").read_bytes())["results_key"]
    assert Ed25519PublicKey.from_public_bytes(base64.b64decode(public))
    for path in run.iterdir():
        assert b"PRIVATE" not in path.read_bytes()
    assert json.loads((run / "results.dsse.json").read_bytes())["signatures"][0]["keyid"] == key_id(public)


@pytest.mark.parametrize("name", ["results.json", "manifest.json", "results.dsse.json"])
def test_every_flipped_byte_is_noticed(run, name):
    path = run / name
    data = bytearray(path.read_bytes())
    step = max(1, len(data) // 120)
    for at in range(0, len(data), step):
        data[at] ^= 1
        path.write_bytes(bytes(data))
        with pytest.raises(IntegrityError, match=name.replace(".", r"\.")):
            verify_results(run)
        data[at] ^= 1
    path.write_bytes(bytes(data))
    verify_results(run)


@pytest.mark.parametrize("name", ["results.json", "manifest.json", "results.dsse.json", "run.json"])
def test_a_missing_file_is_noticed(run, name):
    (run / name).unlink()
    with pytest.raises(IntegrityError, match=name.replace(".", r"\.")):
        verify_results(run)


def test_a_link_in_place_of_a_signed_file_is_noticed(run, tmp_path):
    moved = tmp_path / "elsewhere.json"
    (run / "results.json").rename(moved)
    (run / "results.json").symlink_to(moved)
    with pytest.raises(IntegrityError, match=r"results\.json"):
        verify_results(run)


def test_results_signed_by_another_key_are_refused(run, tmp_path, decision, metrics, context):
    other = tmp_path / "other"
    write_results(other, decision, metrics, context)
    for name in ("results.json", "results.dsse.json"):
        (run / name).write_bytes((other / name).read_bytes())
    with pytest.raises(IntegrityError, match="by another key"):
        verify_results(run)


def resigned(run, statement):
    key = new_key()
    (run / "results.dsse.json").write_bytes(envelope.sign(statement, key))
    write_run(run, replace(read_run(run), results_key=key.public))


def test_a_statement_about_something_else_is_refused(run):
    digest = files.sha256_of(run / "results.json")
    resigned(run, envelope.statement({"results.json": digest}, "urn:synguard:sign-off:v1", {}))
    with pytest.raises(IntegrityError, match="about something else"):
        verify_results(run)
    resigned(run, envelope.statement({"manifest.json": digest}, record.PREDICATE_TYPE, {}))
    with pytest.raises(IntegrityError, match=r"no digest of results\.json"):
        verify_results(run)


def test_run_json_follows_its_schema_and_comes_back(tmp_path):
    written = RunRecord(
        id="r1",
        state="running",
        config={"seed": 1, "private": {"path": "p"}},
        command=("synguard", "audit"),
        started="2026-11-21T00:00:00Z",
        versions={"synguard": "0.1.0"},
        seeds={"split": np.int64(3)},
        timings={"index": 1.25},
    )
    write_run(tmp_path / "run", written)
    schema("run").validate(json.loads((tmp_path / "run" / "run.json").read_bytes()))
    found = read_run(tmp_path / "run")
    assert (found.id, found.state, found.seeds["split"], found.config) == ("r1", "running", 3, written.config)
    assert found.command == ("synguard", "audit")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["config"].update(seed=2), "config_sha256"),
        (lambda d: d.update(schema_version=9), "schema version 9"),
        (lambda d: d.pop("id"), "other keys than expected .id."),
        (lambda d: d.update(extra=1), "other keys than expected .extra."),
    ],
)
def test_a_changed_run_json_is_refused(tmp_path, change, message):
    write_run(tmp_path, RunRecord(id="r1", state="running", config={"seed": 1}))
    found = json.loads((tmp_path / "run.json").read_bytes())
    change(found)
    (tmp_path / "run.json").write_text(json.dumps(found), encoding="utf-8")
    with pytest.raises(IntegrityError, match=message):
        read_run(tmp_path)


@pytest.mark.parametrize("text", ['{"a": 1, "a": 2}', "[1]", "{", "[" * 100_000, "\xff"])
def test_json_that_synguard_did_not_write_is_refused(tmp_path, text):
    (tmp_path / "x.json").write_text(text, encoding="latin-1")
    with pytest.raises(IntegrityError, match=r"x\.json: found"):
        files.read_json(tmp_path / "x.json")


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
def test_a_write_that_breaks_off_leaves_the_old_file(tmp_path, monkeypatch, step):
    path = tmp_path / "results.json"
    files.write_private(path, b"old")

    def broken(*args, **kwargs):
        raise OSError(28, "No space left on device")

    if step == "replace":
        monkeypatch.setattr(type(path), "replace", broken)
    elif step == "fsync":
        monkeypatch.setattr(os, "fsync", broken)
    else:
        monkeypatch.setattr(os, "fdopen", broken)
    with pytest.raises(OSError, match="No space"):
        files.write_private(path, b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["results.json"]


def test_canonical_json_has_one_form():
    one = files.canonical({"b": np.float64(0.1 + 0.2), "a": -0.0, "c": (np.int32(1), None, True)})
    two = files.canonical({"a": 0.0, "c": [1, None, True], "b": 0.3})
    assert one == two
    with pytest.raises(TypeError, match="found set"):
        files.canonical({"a": {1}})


def test_envelopes_are_dsse():
    """Checked by hand against the protocol's pre-authentication encoding."""
    key = new_key()
    payload = envelope.statement({"b": "22", "a": "11"}, "urn:x", {"k": 1})
    outer = json.loads(envelope.sign(payload, key))
    body = base64.b64decode(outer["payload"])
    assert json.loads(body) == payload
    assert [row["name"] for row in payload["subject"]] == ["a", "b"]
    head = f"DSSEv1 {len(envelope.PAYLOAD_TYPE)} {envelope.PAYLOAD_TYPE} {len(body)} ".encode()
    key.private.public_key().verify(base64.b64decode(outer["signatures"][0]["sig"]), head + body)


@pytest.mark.parametrize("change", ["padding", "extra key", "second signature", "order", "key id", "payload type"])
def test_an_envelope_in_any_other_form_is_refused(change):
    key = new_key()
    good = envelope.sign({"a": 1}, key)
    public = key.public
    assert envelope.verify(good, public, "e.json") == {"a": 1}
    outer = json.loads(good)
    if change == "padding":
        outer["payload"] += "===="
    elif change == "extra key":
        outer["note"] = "approved"
    elif change == "second signature":
        outer["signatures"].append(outer["signatures"][0])
    elif change == "key id":
        outer["signatures"][0]["keyid"] = "0" * 64
    elif change == "payload type":
        outer["payloadType"] = "application/json"
    bad = json.dumps(outer).encode() if change == "order" else files.canonical(outer)
    with pytest.raises(IntegrityError, match=r"e\.json"):
        envelope.verify(bad, public, "e.json")


@pytest.mark.parametrize("public", ["", "AAAA", "not base64", "A" * 44 + "=", None])
def test_what_is_no_public_key_is_refused(public):
    with pytest.raises(IntegrityError, match="no public key"):
        envelope.verify(envelope.sign({}, new_key()), public, "e.json")
