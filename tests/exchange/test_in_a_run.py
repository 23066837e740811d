"""Imported records in a run file."""

import json

import pytest
from tests.tiny_run import run_file

from trueseed import pipeline
from trueseed.errors import Refused
from trueseed.runfile import load
from trueseed.workspace import Workspace


def test_imports_are_looked_for_beside_the_run_file_and_come_in(tmp_path):
    (tmp_path / "mine.jsonl").write_text(json.dumps({"prompt": "Soup?", "completion": "Heat it well."}) + "\n")
    path = run_file(tmp_path, tmp_path)
    path.write_text(path.read_text() + "import: [{file: mine.jsonl, source: own/cook}]\n")
    (records,) = pipeline.import_records(load(path), Workspace.open(tmp_path / "work", create=True))
    assert records.meta["records"] == 1


def test_records_that_may_not_be_trained_on_end_the_run_before_anybody_is_asked(tmp_path):
    (tmp_path / "theirs.jsonl").write_text(json.dumps({"prompt": "Soup?", "completion": "Heat it well."}) + "\n")
    path = run_file(tmp_path, tmp_path)
    path.write_text(path.read_text() + "import: [{file: theirs.jsonl, source: openai/gpt-4@api}]\n")
    with pytest.raises(Refused, match="may not be trained on: openai/gpt-4@api"):
        pipeline.import_records(load(path), Workspace.open(tmp_path / "work", create=True))
