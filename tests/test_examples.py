"""What README and docstrings show is true: examples run, files named exist, the shown answers are the answers."""

import doctest
import importlib
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import trueseed
from trueseed.runfile import RunFile, load

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
