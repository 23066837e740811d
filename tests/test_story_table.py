"""docs/story.md against tests/story/: every test that a row names exists, and every test there stands in a row."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "story.md").read_text("utf-8")
ROWS = [line for line in TEXT.splitlines() if line.startswith("| ") and not line.startswith(("| the fact", "| what"))]
FACTS = 14
NAMED = re.compile(r"`(test_\w+\.py)(?:::(test_\w+))?`")
REPORTS, _, LIST = TEXT.partition("## The reports")


def in_file(file: str) -> set[str]:
    """Of a file in tests/story/; none when there is no such file."""
    path = ROOT / "tests" / "story" / file
    tree = ast.parse(path.read_text("utf-8")) if path.exists() else ast.Module(body=[], type_ignores=[])
    found = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    return {name for name in found if name.startswith("test_")}


def named(row: str) -> set[tuple[str, str]]:
    """The tests that a row names, all of a file where it names the file alone."""
    entries = NAMED.findall(row)
    return {(file, name) for file, test in entries for name in ({test} if test else in_file(file))}


def test_there_is_a_row_for_every_fact_and_each_says_who_claimed_and_who_disputed_it():
    facts = [row for row in ROWS if row.count(" | ") == 4]
    assert len(facts) == FACTS
    assert all(cell.strip(" |") for row in facts for cell in row.split(" | "))


def test_every_test_that_a_row_names_exists():
    for row in ROWS:
        entries = NAMED.findall(row)
        assert entries, row
        for file, test in entries:
            assert in_file(file), file
            assert not test or test in in_file(file), test


def test_every_story_test_stands_in_a_row():
    told = set().union(*(named(row) for row in ROWS))
    files = sorted(path.name for path in (ROOT / "tests" / "story").glob("test_*.py"))
    assert {(file, test) for file in files for test in in_file(file)} == told


def test_every_report_that_is_cited_is_listed_and_every_one_listed_is_cited():
    cited = {int(number) for number in re.findall(r"\[(\d+)\]", REPORTS)}
    listed = {int(number) for number in re.findall(r"^(\d+)\. ", LIST, re.MULTILINE)}
    assert cited == listed == set(range(1, len(listed) + 1))
