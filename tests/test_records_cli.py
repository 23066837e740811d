"""The commands on records, in process: what they print, and what they say of a newcomer's mistakes."""

import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from trueseed.cli import app
from trueseed.errors import TrueSeedError
from trueseed.exchange import foreign

ROW = {"prompt": "How do I heat soup?", "completion": "Slowly, and write to jo@example.com when it steams, or do not."}


def trueseed(folder: Path, *words: object) -> Result:
    """As `main` would end: the exit code of an error of ours, its sentence in the output."""
    found = CliRunner().invoke(app, [*map(str, words), "--workspace", str(folder / "work")])
    if isinstance(found.exception, TrueSeedError):
        found.exit_code = found.exception.exit_code
        found.stderr_bytes = (found.stderr_bytes or b"") + str(found.exception).encode()
    elif not isinstance(found.exception, SystemExit | None):
        raise found.exception
    return found


def rows(folder: Path, *found: object, name: str = "rows.jsonl") -> Path:
    lines = [each if isinstance(each, str) else json.dumps(each) for each in found]
    (folder / name).write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return folder / name


def brought(folder: Path, *more: object) -> str:
    done = trueseed(folder, "import", rows(folder, ROW), "--source", "own/cook", "--json", *more)
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)["records"]


def test_import_prints_rows_labels_and_what_was_looked_for(tmp_path):
    done = trueseed(tmp_path, "import", rows(tmp_path, ROW, ROW), "--source", "own/cook")
    assert done.exit_code == 0
    lines = [line.strip() for line in done.stdout.splitlines()]
    assert lines[0].endswith("2 records")
    assert lines[1:] == ["own/cook (output), declared", "looked for what contradicts it: known 0, column 0, identity 0"]


def test_import_refuses_with_three_and_inherits_when_it_is_told_to(tmp_path):
    path = rows(tmp_path, {**ROW, "model": "gpt-4"})
    done = trueseed(tmp_path, "import", path, "--source", "own/cook")
    assert done.exit_code == 3
    assert "column 'model' says 'gpt-4'" in done.stderr
    assert "--inherit" in done.stderr
    done = trueseed(tmp_path, "import", path, "--source", "own/cook", "--inherit", "--json")
    said = json.loads(done.stdout)
    assert [label["source"] for label in said["inherited"]] == ["openai/gpt-4@reported"]
    assert {verdict["verdict"] for verdict in said["train"]} == {"permit", "refuse"}


def test_a_split_is_chosen_and_the_others_are_named(tmp_path):
    (tmp_path / "hub").mkdir()
    for split in ("train", "test"):
        pq.write_table(pa.Table.from_pylist([ROW]), tmp_path / "hub" / f"{split}-00000-of-00001.parquet")
    done = trueseed(tmp_path, "import", tmp_path / "hub", "--source", "own/cook", "--split", "test")
    assert "left out: the splits train" in done.stderr
    assert trueseed(tmp_path, "import", tmp_path / "hub", "--source", "own/cook", "--split", "dev").exit_code == 2


def test_list_and_export_name_what_is_here_and_hand_it_out_once(tmp_path):
    reference = brought(tmp_path)
    assert trueseed(tmp_path, "records", "list").stdout.endswith("1 record of own/cook\n")
    listed = json.loads(trueseed(tmp_path, "records", "list", "--json").stdout)
    assert listed == {"artifacts": [{"artifact": reference, "records": 1, "sources": ["own/cook"]}]}
    out = tmp_path / "out.jsonl"
    done = trueseed(tmp_path, "records", "export", reference, out)
    assert done.stdout.replace("\n", "").endswith("1 record of own/cook")
    (row,) = map(json.loads, out.read_text().splitlines())
    assert row["messages"][-1]["content"] == ROW["completion"]
    assert row["trueseed"]["source"] == "own/cook"
    again = trueseed(tmp_path, "records", "export", reference, out)
    assert (again.exit_code, "is there already" in again.stderr) == (2, True)
    assert trueseed(tmp_path, "records", "export", "records:0123456789", tmp_path / "x").exit_code == 2
    assert trueseed(tmp_path, "records", "export", reference, tmp_path / "x", "--part", "validation").exit_code == 2
    assert not (tmp_path / "x").exists()


def test_what_may_not_be_trained_on_is_not_handed_out(tmp_path):
    done = trueseed(tmp_path, "import", rows(tmp_path, ROW), "--source", "openai/gpt-4@api", "--json")
    reference = json.loads(done.stdout)["records"]
    done = trueseed(tmp_path, "records", "export", reference, tmp_path / "out.jsonl")
    assert (done.exit_code, (tmp_path / "out.jsonl").exists()) == (3, False)
    assert "may not be used to train" in done.stderr


def test_redact_counts_by_type_and_a_type_that_is_none_is_named(tmp_path):
    pytest.importorskip("presidio_analyzer")
    reference = brought(tmp_path)
    done = trueseed(tmp_path, "redact", reference, "--json")
    said = json.loads(done.stdout)
    assert said["redacted"] == {"EMAIL_ADDRESS": 1}
    listed = json.loads(trueseed(tmp_path, "records", "list", "--json").stdout)["artifacts"]
    (made,) = [row for row in listed if row["artifact"] == said["artifact"]]
    assert (made["sources"], made["redacted"]) == (["own/cook"], True)
    wrong = trueseed(tmp_path, "redact", reference, "--type", "NAME")
    assert (wrong.exit_code, "the types are EMAIL_ADDRESS" in wrong.stderr) == (2, True)


def test_whom_to_ask_for_a_rewriting_must_be_said(tmp_path):
    done = trueseed(tmp_path, "rewrite", brought(tmp_path), "Shorten it.")
    assert (done.exit_code, "--run FILE" in done.stderr) == (2, True)


def test_an_import_without_a_source_is_a_mistake_that_names_the_option(tmp_path):
    done = trueseed(tmp_path, "import", rows(tmp_path, ROW))
    assert (done.exit_code, "--source" in done.stderr) == (2, True)
    done = trueseed(tmp_path, "import", rows(tmp_path, ROW), "--source", "GPT 4")
    assert (done.exit_code, "maker/model@route" in done.stderr) == (2, True)


MISTAKES = {
    "a wrong column": (b'{"text": "words"}\n', "line 1: there is no chat in it: give `messages`.*it has text"),
    "no JSON": (b'{"prompt": "a", "completion": "b"}\nnot json\n', "line 2: not JSON"),
    "an answer that is missing": (b'{"prompt": "a", "completion": null}\n', "line 1: there is no chat in it"),
    "an empty answer": (b'{"prompt": "a", "completion": " "}\n', "line 1: its answer is empty"),
    "an empty file": (b"", "there are no rows in .*give a file that holds some"),
    "blank lines": (b"\n\n", "there are no rows in"),
    "Latin-1": (
        '{"prompt": "a", "completion": "für"}\n'.encode("latin-1"),
        "line 1: not UTF-8 .*save the file as UTF-8",
    ),
    "UTF-16": ('{"prompt": "a"}\n'.encode("utf-16"), "line 1: not UTF-8"),
    "a list": (b"[1, 2]\n", "line 1: not a JSON object"),
    "deep nesting": (b"[" * 100_000 + b"\n", "line 1: not JSON"),
    "half a surrogate": (b'{"prompt": "a", "completion": "\\ud800"}\n', "line 1: .*surrogates not allowed"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_file_that_is_wrong_is_told_where_and_nothing_is_imported(tmp_path, name):
    content, said = MISTAKES[name]
    (tmp_path / "rows.jsonl").write_bytes(content)
    done = trueseed(tmp_path, "import", tmp_path / "rows.jsonl", "--source", "own/cook")
    assert done.exit_code == 2
    assert re.search(said, " ".join(done.stderr.split())), done.stderr
    assert "Nothing was imported" in " ".join(done.stderr.split())
    assert not list((tmp_path / "work" / "store").glob("*/*"))


def test_a_line_without_end_is_not_read_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(foreign, "LONGEST", 1000)
    path = rows(tmp_path, ROW, json.dumps({"prompt": "x" * 5000, "completion": "y"}), ROW)
    done = trueseed(tmp_path, "import", path, "--source", "own/cook")
    assert (done.exit_code, "line 2: longer than 1,000 bytes" in " ".join(done.stderr.split())) == (2, True)
    assert "line 3" not in done.stderr


def parquet(folder: Path, found: pa.Table) -> Path:
    pq.write_table(found, folder / "rows.parquet")
    return folder / "rows.parquet"


def test_a_parquet_file_that_is_cut_is_told(tmp_path):
    path = parquet(tmp_path, pa.Table.from_pylist([ROW] * 50))
    path.write_bytes(path.read_bytes()[:-20])
    done = trueseed(tmp_path, "import", path, "--source", "own/cook")
    assert (done.exit_code, "rows.parquet cannot be read" in " ".join(done.stderr.split())) == (2, True)


def test_a_broken_row_of_a_parquet_file_is_told_by_its_number(tmp_path):
    texts = pa.array([b"Slowly.", b"\xff\xfe", b"Gently."], pa.binary()).view(pa.string())
    path = parquet(tmp_path, pa.table({"prompt": ["Soup?"] * 3, "completion": texts}))
    done = trueseed(tmp_path, "import", path, "--source", "own/cook")
    assert (done.exit_code, "row 2: it cannot be read" in " ".join(done.stderr.split())) == (2, True)
    path = parquet(tmp_path, pa.Table.from_pylist([ROW, {**ROW, "completion": None}]))
    done = trueseed(tmp_path, "import", path, "--source", "own/cook")
    assert (done.exit_code, "row 2: there is no chat in it" in " ".join(done.stderr.split())) == (2, True)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nothing.jsonl", "there is no dataset at"),
        ("table.csv", "is none of .jsonl"),
        ("folder", "there is no data in"),
    ],
)
def test_a_path_that_is_no_dataset_is_told(tmp_path, name, said):
    (tmp_path / "table.csv").write_text("a,b\n")
    (tmp_path / "folder").mkdir()
    done = trueseed(tmp_path, "import", tmp_path / name, "--source", "own/cook")
    assert (done.exit_code, said in " ".join(done.stderr.split())) == (2, True)
