"""Nothing half-made is left behind, whatever happens."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from trueseed.core import durable
from trueseed.core.durable import cache_folder, folder_atomic, state_folder, write_atomic


def listed(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_a_file_is_replaced_whole(tmp_path):
    write_atomic(tmp_path / "deep" / "file", "old")
    write_atomic(tmp_path / "deep" / "file", b"new", mode=0o600)
    assert (tmp_path / "deep" / "file").read_text() == "new"
    assert (tmp_path / "deep" / "file").stat().st_mode & 0o777 == 0o600
    assert listed(tmp_path / "deep") == ["file"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    write_atomic(tmp_path / "file", "old")

    def no_space(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OSError, match="No space left"):
        write_atomic(tmp_path / "file", "new")
    assert (tmp_path / "file").read_text() == "old"
    assert listed(tmp_path) == ["file"]


def test_a_folder_appears_whole(tmp_path):
    with folder_atomic(tmp_path / "final") as staged:
        (staged / "inner").mkdir()
        (staged / "inner" / "file").write_text("text")
        assert not (tmp_path / "final").exists()
    assert (tmp_path / "final" / "inner" / "file").read_text() == "text"
    assert listed(tmp_path) == ["final"]


def test_an_exception_leaves_no_folder(tmp_path):
    with pytest.raises(KeyboardInterrupt), folder_atomic(tmp_path / "final") as staged:
        (staged / "file").write_text("text")
        raise KeyboardInterrupt
    assert listed(tmp_path) == []


def test_whoever_is_first_stays(tmp_path):
    with folder_atomic(tmp_path / "final") as ours:
        (ours / "who").write_text("ours")
        with folder_atomic(tmp_path / "final") as theirs:
            (theirs / "who").write_text("theirs")
    assert (tmp_path / "final" / "who").read_text() == "theirs"
    assert listed(tmp_path) == ["final"]


def test_many_who_come_at_once_leave_one_whole_folder(tmp_path):
    errors = []
    together = threading.Barrier(8)

    def make(number: int) -> None:
        try:
            with folder_atomic(tmp_path / "final") as staged:
                (staged / "a").write_text(str(number))
                (staged / "b").write_text(str(number))
                together.wait()
        except BaseException as err:
            errors.append(err)

    threads = [threading.Thread(target=make, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert (tmp_path / "final" / "a").read_text() == (tmp_path / "final" / "b").read_text()
    assert listed(tmp_path) == ["final"]


def test_what_a_killed_process_left_is_removed_by_a_later_one(tmp_path, monkeypatch):
    script = (
        "import os, sys; from pathlib import Path; from trueseed.core.durable import folder_atomic\n"
        "with folder_atomic(Path(sys.argv[1])) as staged:\n"
        "    (staged / 'file').write_text('half'); os.kill(os.getpid(), 9)\n"
    )
    killed = subprocess.run([sys.executable, "-c", script, str(tmp_path / "final")])
    assert killed.returncode == -9
    assert len(listed(tmp_path)) == 1
    monkeypatch.setattr(durable, "JUST_MADE_S", 0.0)
    with folder_atomic(tmp_path / "final") as staged:
        (staged / "file").write_text("whole")
    assert listed(tmp_path) == ["final"]


def test_what_a_living_process_is_making_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(durable, "JUST_MADE_S", 0.0)
    with folder_atomic(tmp_path / "final") as ours:
        (ours / "file").write_text("ours")
        with pytest.raises(RuntimeError), folder_atomic(tmp_path / "final"):
            raise RuntimeError
    assert (tmp_path / "final" / "file").read_text() == "ours"


def test_the_users_folders_follow_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("TRUESEED_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("TRUESEED_CACHE", str(tmp_path / "cache"))
    assert (state_folder(), cache_folder()) == (tmp_path / "state", tmp_path / "cache")
