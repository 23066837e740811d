"""What a server told, taken on the student's ids where each token is one of them, and refused where not."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trueseed.core.chat import Answer, Message, TokenLogprob, user
from trueseed.lm.engine import Engine
from trueseed.lm.format import Format
from trueseed.lm.topk import TopK
from trueseed.lm.vocabulary import spellings
from trueseed.train.told import Spelling, Unlike

CHAT = (*user("Say it."), Message("assistant", "The déjà vu of the sea"))
K = 5


@pytest.fixture(scope="module")
def form(tiny_llama: Path) -> Format:
    return Format(tiny_llama)


@pytest.fixture(scope="module")
def spelling(form: Format) -> Spelling:
    return Spelling.of(form)


@pytest.fixture(scope="module")
def ids(form: Format) -> list[int]:
    tokens, mask = form.training(CHAT)
    return [token for token, counts in zip(tokens, mask, strict=True) if counts]


@pytest.fixture(scope="module")
def thought(tiny_llama: Path, form: Format) -> TopK:
    (found,) = Engine(tiny_llama, "own/tiny", dtype="float32").topk([form.training(CHAT)], K)
    return found


def as_a_server_tells(thought: TopK, ids: list[int], form: Format, *, ids_too: bool) -> Answer:
    """As llama.cpp does with ids, as vLLM without: strings that lose half characters, and bytes that do not."""
    written = spellings(form)

    def told(token: int, logprob: float) -> TokenLogprob:
        ends = token in form.end_ids and ids_too
        spelt = b"" if ends else written[token]
        return TokenLogprob(token if ids_too else spelt.decode(errors="replace"), logprob, spelt)

    steps = [
        replace(told(own, -1.0), top=tuple(told(int(at), float(p)) for at, p in zip(row, logprobs, strict=True)))
        for own, row, logprobs in zip(ids, thought.ids, thought.logprobs, strict=True)
    ]
    return Answer(text=CHAT[-1].content, finish="stop", prompt_tokens=1, completion_tokens=9, logprobs=tuple(steps))


@pytest.mark.parametrize("ids_too", [True, False])
def test_what_a_server_tells_is_what_the_model_thought(
    spelling: Spelling, thought: TopK, ids: list[int], form: Format, ids_too: bool
) -> None:
    found = spelling.topk(as_a_server_tells(thought, ids, form, ids_too=ids_too), ids, k=K)
    assert np.array_equal(found.ids, thought.ids)
    np.testing.assert_array_equal(found.logprobs, thought.logprobs)
    np.testing.assert_allclose(found.tail, thought.tail, atol=1e-5)


def test_fewer_may_be_taken_and_the_rest_is_tail(
    spelling: Spelling, thought: TopK, ids: list[int], form: Format
) -> None:
    found = spelling.topk(as_a_server_tells(thought, ids, form, ids_too=True), ids, k=2)
    assert np.array_equal(found.ids, thought.ids[:, :2])
    np.testing.assert_allclose(np.exp(found.logprobs).sum(1) + np.exp(found.tail), 1, atol=1e-5)


def test_a_teacher_told_as_certain_still_leaves_what_cannot_be_told_from_nothing(
    spelling: Spelling, ids: list[int]
) -> None:
    sure = TokenLogprob(ids[0], 0.0, spelling.written[ids[0]])
    answer = Answer(
        text="x", finish="length", prompt_tokens=1, completion_tokens=1, logprobs=(replace(sure, top=(sure,)),)
    )
    assert spelling.topk(answer, ids[:1], k=1).tail[0] == pytest.approx(np.log(1e-6))


def changed(answer: Answer, place: int, **changes: Any) -> Answer:
    steps = list(answer.logprobs)
    steps[place] = replace(steps[place], **changes)
    return replace(answer, logprobs=tuple(steps))


def test_tokens_that_are_not_the_students_are_refused(
    spelling: Spelling, thought: TopK, ids: list[int], form: Format
) -> None:
    told, by_id = (as_a_server_tells(thought, ids, form, ids_too=each) for each in (False, True))
    strange = TokenLogprob(" strange", -5.0, b" strange")
    cases = {
        "no single token of the student writes b' strange'": changed(told, 1, top=(strange,) * K),
        "as the server spoke it and": changed(told, 1, token="a", spelt=b"a"),
        r"id \d+ writes b'other' at the server": changed(by_id, 1, spelt=b"other"),
        "spoke 3 tokens where the student reads": replace(told, logprobs=told.logprobs[:3]),
        "how probable the end of the answer was": replace(told, logprobs=told.logprobs[:-1]),
        f"tells {K - 1} tokens at a place, fewer than": changed(told, 2, top=told.logprobs[2].top[1:]),
        "sum to .* more than 1": changed(told, 2, top=tuple(replace(e, logprob=-0.1) for e in told.logprobs[2].top)),
    }
    for says, answer in cases.items():
        with pytest.raises(Unlike, match=says):
            spelling.topk(answer, ids, k=K)


def test_bytes_of_tokens_are_those_of_the_text(form: Format, spelling: Spelling) -> None:
    text = "déjà vu, 好的 the sea"
    assert b"".join(spelling.written[token] for token in form._encode(text)) == text.encode()


def test_a_vocabulary_that_marks_blanks_is_read_too(form: Format, monkeypatch: pytest.MonkeyPatch) -> None:
    class Tokenizer:
        added_tokens_decoder: dict[int, Any] = {}  # noqa: RUF012

        def get_vocab(self) -> dict[str, int]:
            return {"▁the": 0, "<0x0A>": 1, "é": 2}

    monkeypatch.setattr(form, "tokenizer", Tokenizer())
    assert spellings(form) == {0: b" the", 1: b"\n", 2: "é".encode()}
