"""Run files: every mistake is told with its key, its line and what was probably meant."""

from datetime import date
from pathlib import Path

import pytest

from trueseed.core.settings import Settings, read
from trueseed.errors import ConfigError


class Inner(Settings):
    learning_rate: float = 1e-3
    steps: int = 1


class Outer(Settings):
    project: str
    train: Inner = Inner()
    both: Inner | None = None


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    return path


def test_a_good_file_is_read(tmp_path):
    assert read(written(tmp_path, "project: a\ntrain:\n  steps: 3\n"), Outer) == Outer(
        project="a", train=Inner(steps=3)
    )


def test_an_unknown_key_is_told_with_its_line_and_the_nearest_valid_one(tmp_path):
    with pytest.raises(ConfigError, match=r"line 3: unknown key 'train.learning_rat'; did you mean 'learning_rate'\?"):
        read(written(tmp_path, "project: a\ntrain:\n  learning_rat: 0.1\n"), Outer)


def test_an_unknown_key_inside_an_optional_part_knows_its_neighbours(tmp_path):
    with pytest.raises(ConfigError, match="did you mean 'steps'"):
        read(written(tmp_path, "project: a\nboth:\n  step: 1\n"), Outer)


def test_a_key_like_no_other_lists_the_valid_ones(tmp_path):
    with pytest.raises(ConfigError, match="valid keys: project, train, both"):
        read(written(tmp_path, "project: a\nzzz: 1\n"), Outer)


def test_a_missing_key_is_named(tmp_path):
    with pytest.raises(ConfigError, match="'project' is missing"):
        read(written(tmp_path, "train: {}\n"), Outer)


def test_a_misspelt_key_is_told_before_the_one_that_is_missing_for_it(tmp_path):
    with pytest.raises(ConfigError) as caught:
        read(written(tmp_path, "projct: a\n"), Outer)
    first, second = str(caught.value).splitlines()
    assert "unknown key 'projct'; did you mean 'project'?" in first
    assert "'project' is missing" in second


def test_a_value_of_the_wrong_type_is_told_with_its_line(tmp_path):
    with pytest.raises(ConfigError, match=r"line 3: 'train.steps' is 'three'"):
        read(written(tmp_path, "project: a\ntrain:\n  steps: three\n"), Outer)


def test_all_mistakes_are_told_at_once(tmp_path):
    with pytest.raises(ConfigError) as caught:
        read(written(tmp_path, "train:\n  steps: x\n  stepz: 1\n"), Outer)
    assert len(str(caught.value).splitlines()) == 3


def test_a_key_given_twice_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="line 2: 'project' was given before, on line 1"):
        read(written(tmp_path, "project: a\nproject: b\n"), Outer)


@pytest.mark.parametrize("text", ["project: [", "- a\n- b\n", "", "project: !!python/object:os.system x", "\x00"])
def test_what_is_no_run_file_is_a_config_error(tmp_path, text):
    with pytest.raises(ConfigError):
        read(written(tmp_path, text), Outer)


def test_a_file_that_is_not_there_is_a_config_error(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        read(tmp_path / "nowhere.yaml", Outer)


class Dated(Settings):
    on: date
    country: str
    strict: bool = False


def test_only_true_and_false_are_truth_values_and_so_on_is_a_key_and_no_a_country(tmp_path):
    read_ = read(written(tmp_path, "on: 2023-11-06\ncountry: NO\nstrict: true\n"), Dated)
    assert read_ == Dated(on=date(2023, 11, 6), country="NO", strict=True)
    with pytest.raises(ConfigError, match="line 3: 'strict' is 'yes'"):
        read(written(tmp_path, "on: 2023-11-06\ncountry: NO\nstrict: yes\n"), Dated)
