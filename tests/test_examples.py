"""What README and docstrings show is true: examples run, files named exist, the shown answers are the answers."""

import doctest
import importlib
import re
import shlex
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import get_args

import pytest
import yaml
from pydantic import BaseModel
from typer.testing import CliRunner

import trueseed
from trueseed.cli import app
from trueseed.errors import TrueSeedError
from trueseed.runfile import RunFile, load
from trueseed.terms.answers import may
from trueseed.terms.catalog import Catalog
from trueseed.terms.model import Facts
from trueseed.workspace import Workspace

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
WITH_EXAMPLES = sorted(
    ".".join(path.relative_to(ROOT / "src").with_suffix("").parts)
    for path in (ROOT / "src").rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_docstring_examples_run(name):
    outcome = doctest.testmod(importlib.import_module(name))
    assert outcome.attempted > 0
    assert outcome.failed == 0


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_the_run_file_in_the_readme_is_valid(tmp_path):
    (block,) = blocks("yaml")
    path = tmp_path / "run.yaml"
    path.write_text(block)
    assert load(path).project == "my-first-student"


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.yaml")), ids=lambda path: path.name)
def test_every_recipe_is_valid(path):
    assert RunFile.model_validate(yaml.safe_load(path.read_text())).project


def test_commands_in_the_readme_answer_as_shown(tmp_path):
    for block in blocks("console"):
        command, _, shown = block.partition("\n")
        words = shlex.split(command.removeprefix("$ trueseed "))
        done = subprocess.run(
            [sys.executable, "-m", "trueseed", *words], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert " ".join((done.stdout + done.stderr).split()) == " ".join(shown.split())


def test_the_tree_in_the_readme_names_what_is_there():
    tree = README.split("## The tree")[1]
    for line in re.findall(r"^      (\S+)", tree, flags=re.MULTILINE):
        assert (ROOT / "src" / "trueseed" / line).exists(), line


def test_importing_trueseed_does_not_import_torch():
    code = "import sys, trueseed; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_public_names_are_sorted_and_there():
    assert list(trueseed.__all__) == sorted(trueseed.__all__)
    assert all(hasattr(trueseed, name) for name in trueseed.__all__)


RUN_FILE = (ROOT / "docs" / "run-file.md").read_text(encoding="utf-8")


def fields(model: type[BaseModel]) -> set[str]:
    """Names of all keys of a model, and of the models in it."""
    names = set(model.model_fields)
    for field in model.model_fields.values():
        parts = (field.annotation, *get_args(field.annotation))
        for part in (getattr(each, "__origin__", each) for each in parts):  # a branch of a union has a tag
            if isinstance(part, type) and issubclass(part, BaseModel):
                names |= fields(part)
    return names


def test_every_key_of_a_run_file_is_explained():
    assert {name for name in fields(RunFile) if f"`{name}`" not in RUN_FILE} == set()


def test_the_run_file_that_is_explained_is_valid(tmp_path):
    (block,) = re.findall(r"```yaml\n(.*?)```", RUN_FILE, flags=re.DOTALL)
    (tmp_path / "run.yaml").write_text(block)
    assert load(tmp_path / "run.yaml").prompts.source == "own/my-prompts"


RECORDS = (ROOT / "docs" / "records.md").read_text(encoding="utf-8")
NAME = re.compile(r"\b[0-9a-f]{10,}\b")  # of an artifact; of a pseudonym


def test_commands_on_records_answer_as_shown(tmp_path, monkeypatch):
    """`$ cat` shows a file that the next command reads; artifacts have other names each time, which are used on."""
    pytest.importorskip("presidio_analyzer")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["trueseed"])
    names: dict[str, str] = {}
    for block in re.findall(r"```console\n(.*?)```", RECORDS, flags=re.DOTALL):
        command, _, shown = block.partition("\n")
        if command.startswith("$ cat "):
            Path(command.removeprefix("$ cat ")).write_text(shown, encoding="utf-8")
            continue
        for name, real in names.items():
            command = command.replace(name, real)
        said, shown = (" ".join(text.split()) for text in (answered(shlex.split(command)[2:]), shown))
        assert masked(said) == masked(shown), command
        for name, real in zip(NAME.findall(shown), NAME.findall(said), strict=True):
            names.setdefault(name[:12], real[:12])


def masked(text: str) -> str:
    """Lists of artifacts are in the order of their names, so their lines change places."""
    parts = [part.strip() for part in re.split(r"(?=records:)", NAME.sub("#", text))]
    return "\n".join(sorted(parts) if len(parts) > 2 else parts)


def answered(words: list[str]) -> str:
    done = CliRunner().invoke(app, words)
    failed = done.exception if isinstance(done.exception, TrueSeedError) else None
    return done.stdout + done.stderr + (f"{type(failed).__name__}: {failed}" if failed else "")


def test_the_run_on_imported_records_that_is_shown_is_valid(tmp_path):
    (block,) = re.findall(r"```yaml\n(.*?)```", RECORDS, flags=re.DOTALL)
    (tmp_path / "run.yaml").write_text(block)
    file = load(tmp_path / "run.yaml")
    assert (file.teachers, list(file.transforms)) == ((), ["rewrite"])


TERMS = (ROOT / "docs" / "terms.md").read_text(encoding="utf-8")


def of_terms(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TERMS, flags=re.DOTALL)


def as_shown(text: str) -> str:
    """Without what is another every time: how many notes there are, and when something was signed."""
    return " ".join(re.sub(r"\d+ notes|\d{4}-\d\d-\d\dT\S+Z", "…", text).split())


@pytest.fixture
def acme(tmp_path, monkeypatch):
    """A workspace with the texts and the document that are shown."""
    monkeypatch.chdir(tmp_path)
    text, letter = of_terms("text")
    Path("acme-terms.txt").write_text(text, encoding="utf-8")
    Path("acme-letter.txt").write_text(letter, encoding="utf-8")
    Workspace.open(Path("work"), create=True).declare("garden", Facts())
    Path("work/terms").mkdir()
    Path("work/terms/acme.toml").write_text(of_terms("toml")[0], encoding="utf-8")


def test_the_text_that_is_shown_being_added_permits_what_it_says(acme):
    verdict = may("train", "acme/large@api", at=date(2026, 3, 5), catalog=Catalog.load(Path("work/terms")))
    assert verdict.permitted
    assert [duty.text for duty in verdict.obligations] == ["name Acme where the output is shown"]


def test_the_commands_about_terms_answer_as_shown(acme):
    for block in of_terms("console"):
        for each in re.split(r"^\$ trueseed ", block, flags=re.MULTILINE)[1:]:
            command, _, shown = each.partition("\n")
            if shown:
                done = CliRunner().invoke(app, shlex.split(command))
                assert as_shown(done.output) == as_shown(shown), command


DISTILLATION = (ROOT / "docs" / "distillation.md").read_text(encoding="utf-8")


def test_the_distillations_that_are_shown_are_valid(tmp_path):
    for block in re.findall(r"```yaml\n(.*?)```", DISTILLATION, flags=re.DOTALL):
        (tmp_path / "run.yaml").write_text(block)
        assert load(tmp_path / "run.yaml").hears_distiller_in == "signals"
