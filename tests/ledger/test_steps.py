"""The rules of the door, broken one at a time."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trueseed.ledger.log import Entry
from trueseed.ledger.statement import SEAL, STEP, WITHDRAWAL
from trueseed.ledger.steps import faults

LABEL = {"source": "maker/model@api", "relation": "output", "terms": "a" * 64}
SCORE = {"source": "judge/model@api", "relation": "score", "terms": ""}
PROMPTS, RECORDS = {"kind": "prompts", "digest": "1" * 64}, {"kind": "records", "digest": "2" * 64}


def story(*said):
    """Entries of step statements, or of (type, predicate)."""
    kinds = [each if isinstance(each, tuple) else (STEP, each) for each in said]
    return [
        Entry(index=index, statement={"predicateType": kind, "predicate": predicate}, envelope={}, leaf=b"")
        for index, (kind, predicate) in enumerate(kinds)
    ]


def opened(run="r", **said):
    return {"event": "opened", "run": run, "step": "s", "inputs": [], **said}


def closed(run="r", event="done", **said):
    return {"event": event, "run": run, "step": "s", "inputs": [], "outputs": [], "labels": [], "asks": [], **said}


def made(artifact, labels, run="first"):
    """A step that made an artifact."""
    return opened(run), closed(run, outputs=[artifact], labels=labels)


def test_a_river_that_keeps_the_rules_has_no_faults():
    assert (
        list(
            faults(
                story(
                    *made(PROMPTS, [LABEL]),
                    opened(inputs=[PROMPTS]),
                    closed(inputs=[PROMPTS], outputs=[RECORDS], labels=[LABEL]),
                )
            )
        )
        == []
    )


@pytest.mark.parametrize("event", ["done", "failed", "paused", "abandoned"])
def test_a_closing_needs_an_opening(event):
    assert list(faults(story(closed(event=event)))) == [
        f"entry 0 (line 1): step 's' of run 'r' is closed ({event}) without having been opened"
    ]


def test_a_closing_closes_once():
    assert len(list(faults(story(opened(), closed(), closed())))) == 1


def test_a_step_is_refused_before_or_after_it_opened():
    assert list(faults(story(closed(event="refused"), opened(), closed(event="refused")))) == []


def test_a_paused_step_opens_again():
    assert list(faults(story(opened(), closed(event="paused"), opened(), closed()))) == []


def test_a_killed_step_is_abandoned_after_it_opened_again():
    assert list(faults(story(opened("a"), opened("b"), closed("a", "abandoned"), closed("b")))) == []


def test_an_input_that_no_step_made_is_a_fault():
    assert list(faults(story(opened(inputs=[PROMPTS])))) == [
        "entry 0 (line 1): its input prompts:111111111111 was made by no step before it"
    ]


def test_an_input_that_the_opening_did_not_name_is_a_fault():
    found = list(faults(story(*made(PROMPTS, []), opened(), closed(inputs=[PROMPTS]))))
    assert found == [
        "entry 3 (line 4): step 's' of run 'r' closes with input prompts:111111111111, which its opening does not name"
    ]


def test_a_label_that_shrinks_is_a_fault():
    found = list(
        faults(
            story(
                *made(PROMPTS, [LABEL, SCORE]),
                opened(inputs=[PROMPTS]),
                closed(inputs=[PROMPTS], outputs=[RECORDS], labels=[LABEL]),
            )
        )
    )
    assert found == [
        "entry 3 (line 4): step 's' of run 'r' drops label ('judge/model@api', 'score', '') of its inputs: "
        "labels never shrink"
    ]


def test_leaving_the_input_out_of_the_closing_does_not_lose_its_labels():
    assert len(list(faults(story(*made(PROMPTS, [LABEL]), opened(inputs=[PROMPTS]), closed(outputs=[RECORDS]))))) == 1


def test_bytes_made_twice_carry_the_labels_of_both():
    steps = [*made(PROMPTS, [LABEL]), *made(PROMPTS, [SCORE], "second"), opened(inputs=[PROMPTS])]
    assert len(list(faults(story(*steps, closed(inputs=[PROMPTS], labels=[LABEL]))))) == 1
    assert list(faults(story(*steps, closed(inputs=[PROMPTS], labels=[LABEL, SCORE])))) == []


def test_labels_of_what_only_decided_arrive_as_filters():
    beside = {**PROMPTS, "role": "against"}
    steps = [*made(PROMPTS, [LABEL]), opened(inputs=[beside])]
    assert list(faults(story(*steps, closed(inputs=[beside], labels=[{**LABEL, "relation": "filter"}])))) == []
    assert len(list(faults(story(*steps, closed(inputs=[beside], labels=[LABEL]))))) == 1


@pytest.mark.parametrize("how", ["asks", "brings"])
def test_what_was_asked_or_brought_in_is_a_label(how):
    source = {how: [{"source": LABEL["source"]}]}
    assert list(faults(story(opened(**source), closed(labels=[LABEL], **source)))) == []
    assert list(faults(story(opened(**source), closed(**source)))) == [
        "entry 1 (line 2): step 's' of run 'r' names 'maker/model@api' but does not carry its label"
    ]


@pytest.mark.parametrize("event", ["failed", "refused", "paused", "abandoned"])
def test_only_a_done_step_puts_artifacts_out(event):
    found = list(faults(story(opened(), closed(event=event, outputs=[RECORDS]))))
    assert found == [f"entry 1 (line 2): step 's' of run 'r' is {event} and yet names outputs"]


@pytest.mark.parametrize(("effect", "count"), [("train", 1), ("serve", 1), ("publish", 1), ("none", 0)])
def test_what_was_recalled_goes_no_further(effect, count):
    recall = (WITHDRAWAL, {"source": LABEL["source"], "reason": "", "at": ""})
    found = list(faults(story(opened(), recall, closed(labels=[LABEL], effect=effect))))
    assert len(found) == count
    assert all("was recalled in entry 1" in each for each in found)


def test_what_was_done_before_the_recall_stays_as_it_is():
    recall = (WITHDRAWAL, {"source": LABEL["source"], "reason": "", "at": ""})
    assert list(faults(story(opened(), closed(labels=[LABEL], effect="train"), recall))) == []


def test_statements_of_other_types_are_left_alone():
    assert list(faults(story((SEAL, {"anything": 1}), ("https://example.com/other", {})))) == []


def test_an_unknown_event_is_a_fault():
    assert "none of opened, abandoned, done" in next(faults(story(opened() | {"event": "dreamt"})))


OLD = {**LABEL, "terms": "b" * 64}
ASKED = {"asks": [{"source": LABEL["source"]}]}


def test_a_label_that_was_learned_while_the_step_was_open_is_said_to_be():
    steps = [opened(labels=[LABEL], **ASKED), closed(labels=[LABEL, OLD], learned=[OLD], **ASKED)]
    assert list(faults(story(*steps))) == []


@pytest.mark.parametrize(
    ("closing", "says"),
    [
        ({"labels": [LABEL, OLD]}, "which it neither opened with nor says it learned"),
        ({"labels": [LABEL], "learned": [OLD]}, "and does not carry it"),
        ({"labels": [OLD], "learned": [OLD]}, "that it opened with: labels never shrink"),
        ({"labels": [LABEL, SCORE], "learned": [SCORE]}, "of a source that it did not ask"),
    ],
)
def test_labels_change_while_a_step_is_open_only_by_what_it_learned(closing, says):
    (found,) = faults(story(opened(labels=[LABEL], **ASKED), closed(**ASKED, **closing)))
    assert says in found


def test_an_opening_that_names_no_labels_bounds_none():
    assert list(faults(story(opened(**ASKED), closed(labels=[LABEL], **ASKED)))) == []


values = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=4,
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from([opened(), closed(inputs=[PROMPTS], outputs=[RECORDS], labels=[LABEL]), {"event": "opened"}]),
    st.data(),
)
def test_a_malformed_predicate_is_a_fault_not_a_crash(predicate, data):
    field = data.draw(st.sampled_from(["event", "run", "step", "inputs", "outputs", "labels", "learned", "asks"]))
    broken = {**predicate, field: data.draw(values)}
    list(faults(story(broken, (WITHDRAWAL, {}), broken)))


def test_a_withdrawal_without_a_source_is_a_fault():
    assert "malformed" in next(faults(story((WITHDRAWAL, {}))))
