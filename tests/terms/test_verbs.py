"""`trueseed terms check|read|diff|matrix`, in this process: what they print, and with which exit code."""

import hashlib
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from trueseed.cli import app
from trueseed.errors import ConfigError
from trueseed.terms.catalog import SHIPPED
from trueseed.terms.model import Facts, Student, Use
from trueseed.workspace import Workspace

OWN = (SHIPPED / "own/own-work.toml").read_text("utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "work" / "terms").mkdir(parents=True)
    return tmp_path / "work"


def terms(folder: Path, *words: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["terms", *words, "--workspace", str(folder)])
    assert done.exit_code == code, done.output
    return done.stdout


def test_check_says_that_all_is_in_order(folder):
    assert terms(folder, "check").startswith("0 errors, ")
    assert json.loads(terms(folder, "check", "--json"))["ok"]


def test_check_names_the_file_and_exits_with_two(folder):
    (folder / "terms/mine.toml").write_text(OWN.replace('"own-work"', '"mine"').replace("clause =", "claus ="))
    found = json.loads(terms(folder, "check", "--json", code=2))
    assert [each["file"] for each in found["findings"] if each["level"] == "error"] == [str(folder / "terms/mine.toml")]


def test_check_notes_whose_documents_are_not_the_shipped_ones(folder):
    (folder / "terms/a.toml").write_text(OWN)
    (folder / "terms/b.toml").write_text(OWN.replace('"own-work"', '"mine"').replace('"own/*"', '"maker/*@api"'))
    told = terms(folder, "check", "--notes")
    assert "the operator's own reading" in told.replace("\n", " ")
    assert "the operator's own document" in told.replace("\n", " ")


def test_read_tells_a_text_that_was_read_from_one_that_changed(folder, tmp_path):
    digest = hashlib.sha256(b"Output is yours.\n").hexdigest()
    mine = OWN.replace('"own-work"', '"mine"').replace('text_sha256 = "unknown"', f'text_sha256 = "{digest}"')
    (folder / "terms/mine.toml").write_text(mine.replace('"own/*"', '"maker/*@api"'))
    (tmp_path / "text").write_bytes(b"Output is yours.\r\n")
    same = json.loads(terms(folder, "read", str(tmp_path / "text"), "--json"))
    assert (same["documents"], same["changes"]) == (["mine"], ["with line ends as on Unix"])
    (tmp_path / "text").write_bytes(b"Output is ours.\n")
    assert not json.loads(terms(folder, "read", str(tmp_path / "text"), "--document", "mine", "--json", code=4))[
        "known"
    ]


def test_diff_tells_uses_and_not_words(folder):
    told = terms(folder, "diff", "mistral-api-2024-02-26", "mistral-terms-2024-02-27")
    assert "train, reward, publish (output): refuse -> permit" in told
    openai = json.loads(terms(folder, "diff", "openai-business-2023-11-14", "openai-sa-2026-01-01", "--json"))
    assert (openai["uses"], openai["duties_gone"], openai["duties_come"]) == ([], [], [])
    assert [each["after"]["clause"] for each in openai["duties_otherwise"]] == ["3.3(d), (g), (h), (i)"]


def test_the_matrix_is_of_every_use_and_shows_what_is_not_shipped(folder):
    (folder / "terms/mine.toml").write_text(OWN)
    told = terms(folder, "matrix", "--at", "2024-02-27")
    assert "† own-work: the operator's own reading" in told.replace("\n", " ")
    found = json.loads(terms(folder, "matrix", "--at", "2024-02-27", "--json"))
    assert set(found["sources"]["mistral/*@api"]["uses"]) == {use.value for use in Use}


def test_a_workspace_that_was_named_and_is_not_there_is_a_mistake(tmp_path):
    for words in (["terms", "list"], ["may", "train", "own/mine"]):
        done = CliRunner().invoke(app, [*words, "--workspace", str(tmp_path / "wrok")])
        assert isinstance(done.exception, ConfigError)
        assert "wrok" in str(done.exception)


def test_a_day_that_is_none_is_told_by_its_option(folder, tmp_path):
    (tmp_path / "letter").write_text("You may.")
    wanted = ["--from", "Acme", "--source", "acme/*@api", "--use", "judge", "--because", "we may"]
    for option in ("--since", "--until"):
        words = ["terms", "permit", str(tmp_path / "letter"), *wanted, option, "soon", "--workspace", str(folder)]
        assert str(CliRunner().invoke(app, words).exception).startswith(f"{option} 'soon' is not a day")


def test_facts_are_told_as_a_run_file_names_them(tmp_path):
    Workspace.open(tmp_path / "work", create=True).declare("seed", Facts(student=Student(name="Sprout")))
    told = CliRunner().invoke(app, ["facts", "--workspace", str(tmp_path / "work")]).stdout.splitlines()
    assert {"project: seed", "student.name: Sprout", "region: not declared", "commercial: true"} <= set(told)
