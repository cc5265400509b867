"""Files and folders appear whole or not at all, and for the owner only."""

from __future__ import annotations

from pathlib import Path

import pytest

from synguard.errors import InputError
from synguard.runs.folder import RunFolder, whole_folder


def test_a_run_folder_is_owner_only_and_never_reused(tmp_path: Path):
    folder = RunFolder.create(tmp_path / "run")
    assert folder.path.stat().st_mode & 0o777 == 0o700
    with pytest.raises(InputError, match="exists already"):
        RunFolder.create(tmp_path / "run")


def test_a_folder_appears_only_when_it_is_complete(tmp_path: Path):
    def fail_half_way() -> None:
        with whole_folder(tmp_path / "done") as scratch:
            (scratch / "half").write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert list(tmp_path.iterdir()) == []
    with whole_folder(tmp_path / "done") as scratch:
        (scratch / "whole").write_text("whole")
    assert (tmp_path / "done" / "whole").read_text() == "whole"


def test_what_a_kill_left_behind_is_swept_away(tmp_path: Path):
    (tmp_path / ".done.left").mkdir()
    with whole_folder(tmp_path / "done"):
        pass
    assert [p.name for p in tmp_path.iterdir()] == ["done"]
