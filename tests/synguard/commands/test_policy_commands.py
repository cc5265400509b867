"""`synguard policy`, as a user runs it: what it prints, and the code that the process ends with."""

from __future__ import annotations

import json
import sys

import pytest

from synguard.commands.main import main


@pytest.fixture
def synguard(monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["synguard", *arguments])
        with pytest.raises(SystemExit) as caught:
            main()
        printed = capsys.readouterr()
        return caught.value.code, printed.out, printed.err

    return run


def test_lint_ends_with_2_where_sample_sizes_are_too_small(synguard):
    code, out, _ = synguard("policy", "lint", "--candidates", "30")
    assert code == 2
    assert "near-copy-rate.fail: found 30 images, expected at least 299" in out


def test_lint_ends_with_0_where_all_is_well(synguard):
    code, out, _ = synguard(
        "policy", "lint", "public-release", "--candidates", "1000", "--private", "3000", "--holdout", "3000"
    )
    assert (code, out) == (0, "public-release 1.0.0: 24 checks, no problem\n")


def test_lint_prints_every_problem_of_a_bad_file_and_ends_with_2(synguard, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("schema: synguard/policy/v1\nnam: x\n", encoding="utf-8")
    code, _, err = synguard("policy", "lint", str(path))
    assert code == 2
    assert "found an unknown key" in err
    assert "checks: found nothing" in err
    assert "Traceback" not in err


def test_explain_and_schema_in_json(synguard):
    code, out, _ = synguard("policy", "explain", "--json")
    rows = json.loads(out)
    assert code == 0
    assert {"check", "key", "effect", "value", "reason", "source", "file", "line"} <= set(rows[0])
    code, out, _ = synguard("policy", "schema")
    assert (code, json.loads(out)["$id"]) == (0, "urn:synguard:schema:policy:v1")


def test_a_command_that_is_not_there_ends_with_2(synguard):
    assert synguard("policy", "nonsense")[0] == 2
