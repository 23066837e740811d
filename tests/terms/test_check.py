import pytest

from trueseed.terms.catalog import SHIPPED
from trueseed.terms.check import check, told

OWN = (SHIPPED / "own/own-work.toml").read_text("utf-8")
MINE = OWN.replace('"own-work"', '"mine"').replace('"own/*"', '"maker/*@api"')
ALL = OWN.partition("uses = ")[2].partition("\n")[0]


def errors(tmp_path, *texts: str) -> list[str]:
    for number, text in enumerate(texts):
        (tmp_path / f"{number}.toml").write_text(text, "utf-8")
    return [each.text for each in check(tmp_path) if each.level == "error"]


def test_the_shipped_documents_are_in_order():
    assert [each for each in check(None) if each.level == "error"] == []


def test_what_is_not_known_is_noted_and_not_an_error():
    notes = [each for each in check(None) if "gemini-api-2025" in each.file]
    assert any("text_sha256" in each.text for each in notes)
    assert told(notes, notes=False) == [f"0 errors, {len(notes)} notes (--notes shows them)"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (MINE.replace(ALL, '["train"]'), "says nothing of judge"),
        (MINE.replace('"permit"', '"unknown"'), "does not say what would settle it"),
        (MINE.replace('"own"\non_term', '"unread"\non_term'), "does not say what is reported"),
        ('incorporates = ["nowhere"]\n' + MINE, "incorporates 'nowhere'"),
        ('silent_on = ["train"]\n' + MINE, "silent on train and gives it a permission"),
        (
            MINE.replace('effective_from = "unknown"', "effective_from = 2025-02-01\neffective_until = 2025-01-01"),
            "ends on 2025-01-01",
        ),
        (MINE.replace("clause =", "claus ="), "nearest valid key: 'clause'"),
    ],
)
def test_a_fault_of_sense_is_told(tmp_path, text, message):
    assert any(message in each for each in errors(tmp_path, text))


def test_a_use_on_which_a_text_is_silent_may_be_named_so(tmp_path):
    rest = ALL.replace('"train", ', "", 1)
    assert errors(tmp_path, 'silent_on = ["train"]\n' + MINE.replace(ALL, rest)) == []


def test_two_texts_of_one_source_may_not_hold_on_one_day(tmp_path):
    [found] = errors(tmp_path, MINE, MINE.replace('"mine"', '"other"'))
    assert "on which 'mine' does" in found


def test_a_text_that_ends_when_the_next_begins_is_no_overlap(tmp_path):
    first = MINE.replace('effective_from = "unknown"', "effective_from = 2025-01-01\neffective_until = 2025-02-01")
    second = MINE.replace('"mine"', '"other"').replace('effective_from = "unknown"', "effective_from = 2025-02-01")
    assert errors(tmp_path, first, second) == []


def test_all_faults_are_found_at_once(tmp_path):
    found = errors(tmp_path, MINE + "[", MINE.replace("provider", "providr"), MINE.replace('"permit"', '"unknown"'))
    assert len(found) == 3


def test_an_override_is_noted_as_the_operators_own_reading(tmp_path):
    (tmp_path / "mine.toml").write_text(OWN, "utf-8")
    assert any("the operator's own reading" in each.text for each in check(tmp_path))
