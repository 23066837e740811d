"""Requests in, answers out."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from trueseed.core.chat import Answer, Message, Request, TokenLogprob, user
from trueseed.errors import ConfigError
from trueseed.lm import checkpoint
from trueseed.lm.engine import Engine
from trueseed.lm.format import Format


@pytest.fixture(scope="module")
def engine(tiny_llama: Path) -> Engine:
    """The tiny model in float32, four slots."""
    return Engine(tiny_llama, "own/tiny", slots=4, dtype="float32")


def ask(engine: Engine, requests: list[Request]) -> list[Answer]:
    """Answers in the order of their requests."""
    found = dict(engine.answers(requests))
    return [found[position] for position in range(len(requests))]


def request(text: str = "Tell me a story.", **changes: object) -> Request:
    return Request(**{"messages": user(text), "max_tokens": 24, "temperature": 0.9, **changes})  # type: ignore[arg-type]


def questions(n: int, **changes: object) -> list[Request]:
    """Ragged in length, each with a seed of its own."""
    return [request("Tell me " + "the sea and " * (i * 3 % 11) + f"story {i}.", seed=i, **changes) for i in range(n)]


def test_greedy_answers_equal_transformers_generate_in_float32(tiny_llama: Path, engine: Engine) -> None:
    model, form = checkpoint.load(tiny_llama, torch.float32), Format(tiny_llama)
    requests = questions(6, temperature=0)
    for one, answer in zip(requests, ask(engine, requests), strict=True):
        prompt = form.prompt(one.messages)
        said = model.generate(torch.tensor([prompt]), max_new_tokens=24, do_sample=False)[0, len(prompt) :].tolist()
        assert answer.completion_tokens == len(said)
        assert answer.text == form.decode(said)
        assert answer.prompt_tokens == len(prompt)


def test_an_answer_depends_on_its_seed(engine: Engine) -> None:
    one, again, other = ask(engine, [request(seed=1), request(seed=1), request(seed=2)])
    assert one.text == again.text
    assert one.text != other.text


def test_a_draw_does_not_depend_on_who_is_decoded_beside_it(engine: Engine) -> None:
    requests = questions(9)
    together = ask(engine, requests)
    assert [ask(engine, [one])[0].text for one in requests] == [answer.text for answer in together]


def test_an_answer_cut_by_max_tokens_says_length(engine: Engine) -> None:
    (answer,) = ask(engine, [request(max_tokens=5, temperature=0)])
    assert (answer.finish, answer.completion_tokens) == ("length", 5)


def test_an_answer_ended_by_the_model_says_stop(tiny_llama: Path) -> None:
    engine = Engine(tiny_llama, "own/tiny", dtype="float32")
    (cut,) = ask(engine, [request(temperature=0, logprobs=True)])
    engine.format.end_ids = frozenset({cut.logprobs[7].token})
    first = next(i for i, one in enumerate(cut.logprobs) if one.token == cut.logprobs[7].token)
    (ended,) = ask(engine, [request(temperature=0, logprobs=True)])
    assert (ended.finish, ended.completion_tokens) == ("stop", first + 1)
    assert ended.logprobs == cut.logprobs[: first + 1]
    assert ended.text == engine.format.decode([one.token for one in cut.logprobs[:first]])


def test_a_stop_string_ends_the_answer_before_it(engine: Engine) -> None:
    whole = ask(engine, [request(seed=3)])[0].text
    for at in range(1, len(whole) - 3):
        stop = whole[at : at + 3]
        (answer,) = ask(engine, [request(seed=3, stop=("never said", stop))])
        assert answer.finish == "stop"
        assert answer.text == whole[: whole.find(stop)]


class AfterLetters:
    """Has enough after n characters."""

    def __init__(self, n: int) -> None:
        self.n = n

    def enough(self, beginning: str) -> bool:
        return len(beginning) >= self.n

    def to_json(self) -> dict[str, int]:
        return {"letters": self.n}


def test_a_watch_ends_the_answer_as_soon_as_it_has_enough(engine: Engine) -> None:
    [whole] = ask(engine, [request(max_tokens=40)])
    [heard] = ask(engine, [request(max_tokens=40, watch=AfterLetters(10))])
    assert heard.finish == "enough"
    assert whole.text.startswith(heard.text)
    assert 10 <= len(heard.text) < len(whole.text)


def test_a_watch_that_never_has_enough_changes_nothing(engine: Engine) -> None:
    [whole] = ask(engine, [request(max_tokens=40)])
    [heard] = ask(engine, [request(max_tokens=40, watch=AfterLetters(10_000))])
    assert heard == whole


def test_a_watch_is_part_of_what_a_request_is() -> None:
    assert request(watch=AfterLetters(1)).to_json() != request(watch=AfterLetters(2)).to_json()


def test_streamed_pieces_are_the_answer(engine: Engine) -> None:
    for one in questions(4):
        *pieces, answer = engine.stream(one)
        assert isinstance(answer, Answer)
        assert "".join(map(str, pieces)) == answer.text == ask(engine, [one])[0].text


def test_a_stream_never_shows_the_beginning_of_a_stop_string(engine: Engine) -> None:
    whole = ask(engine, [request(seed=3)])[0].text
    middle = len(whole) // 2
    stop = whole[middle : middle + 6]
    *pieces, answer = engine.stream(request(seed=3, stop=(stop,)))
    assert isinstance(answer, Answer)
    assert "".join(map(str, pieces)) == answer.text == whole[: whole.find(stop)]


def test_requests_are_pulled_only_when_there_is_room(engine: Engine) -> None:
    taken = 0
    given = 0

    def lazily() -> Iterator[Request]:
        nonlocal taken
        for one in questions(11):
            assert taken - given < 4
            taken += 1
            yield one

    for _ in engine.answers(lazily()):
        given += 1
    assert given == 11


def test_a_slot_that_ended_is_refilled_before_the_others_end(engine: Engine) -> None:
    lengths = [40, 40, 40, 3, 3, 3, 3]
    order = [position for position, _ in engine.answers([request(max_tokens=n, temperature=0) for n in lengths])]
    assert order[:4] == [3, 4, 5, 6]


def test_none_means_ask_again_after_the_next_answer_and_takes_no_position(engine: Engine) -> None:
    heard: list[int] = []

    def follow_up() -> Iterator[Request | None]:
        yield request(max_tokens=3)
        while not heard:
            yield None
        yield request(max_tokens=3, seed=9)

    for position, _ in engine.answers(follow_up()):
        heard.append(position)
    assert heard == [0, 1]


def test_none_when_nothing_is_under_way_is_a_bug_of_the_caller(engine: Engine) -> None:
    with pytest.raises(RuntimeError, match="wait for ever"):
        list(engine.answers([None]))


def test_no_requests_give_no_answers(engine: Engine) -> None:
    assert list(engine.answers([])) == []


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_deterministic_answers_do_not_depend_on_slot_or_company(tiny_llama: Path, dtype: str) -> None:
    engine = Engine(tiny_llama, "own/tiny", slots=5, dtype=dtype, deterministic=True)
    requests = questions(12, max_tokens=90, logprobs=True)
    together = ask(engine, requests)
    assert ask(engine, requests[::-1]) == together[::-1]
    assert [ask(engine, [one])[0] for one in requests[:4]] == together[:4]


def test_log_probabilities_are_those_of_the_teacher_forced_answer(engine: Engine) -> None:
    (answer,) = ask(engine, [request(temperature=0.7, top_p=0.9, logprobs=True, seed=5)])
    assert len(answer.logprobs) == answer.completion_tokens
    ids = engine.format.prompt(user("Tell me a story.")) + [one.token for one in answer.logprobs]
    model = checkpoint.load(engine._folder, torch.float32)
    with torch.inference_mode():
        expected = torch.log_softmax(model(torch.tensor([ids])).logits[0], -1)
    for back, one in enumerate(reversed(answer.logprobs)):
        assert one.logprob == pytest.approx(float(expected[len(ids) - 2 - back, one.token]), abs=1e-3)


def test_scores_are_the_negative_log_likelihood_of_the_answers(tiny_llama: Path, engine: Engine) -> None:
    chats = [
        (*user("Tell me a story."), Message("assistant", "The sea.")),
        (*user("Why?"), Message("assistant", "Because the lazy dog needs a sailor, and explains it to the fox.")),
    ]
    model = checkpoint.load(tiny_llama, torch.float32)
    for chat, scored in zip(chats, engine.score(chats), strict=True):
        ids, mask = engine.format.training(chat)
        with torch.inference_mode():
            logp = torch.log_softmax(model(torch.tensor([ids])).logits[0].double(), -1)
        expected = -sum(float(logp[i - 1, ids[i]]) for i in range(1, len(ids)) if mask[i])
        assert scored.nll == pytest.approx(expected, rel=1e-4)
        assert scored.tokens == sum(mask)
    assert math.isfinite(engine.score(chats, dtype="bfloat16")[0].nll)


def test_what_the_model_said_of_its_own_tokens_is_its_score(engine: Engine) -> None:
    asked = [request(temperature=0.7, logprobs=True, seed=seed, max_tokens=3) for seed in range(40)]
    heard = [answer for answer in ask(engine, asked) if answer.finish == "length"]
    chats = [(*user("Tell me a story."), Message("assistant", answer.text)) for answer in heard]
    cut, known = range(len(chats)), {at: answer.logprobs for at, answer in enumerate(heard)}
    for answer, scored in zip(heard, engine.score(chats, cut=cut), strict=True):
        if scored.tokens == 3:
            assert scored.nll == pytest.approx(-sum(one.logprob for one in answer.logprobs), rel=1e-3)
    halved = {at: [TokenLogprob(one.token, one.logprob / 2) for one in said] for at, said in known.items()}
    told, computed = engine.score(chats, cut=cut, known=halved), engine.score(chats, cut=cut)
    ratios = [half.nll / whole.nll for half, whole in zip(told, computed, strict=True)]
    assert any(ratio == pytest.approx(0.5, rel=1e-3) for ratio in ratios)


def test_what_was_said_of_other_tokens_is_no_score(engine: Engine) -> None:
    chat = (*user("Why?"), Message("assistant", "The sea."))
    told = [TokenLogprob(0, -1.0)]
    assert engine.score([chat], known={0: told}) == engine.score([chat])


def test_a_score_does_not_depend_on_the_other_conversations(engine: Engine) -> None:
    chats = [(*user("Why?" * n), Message("assistant", "The sea " * n)) for n in (1, 9, 3)]
    chats.append((Message("system", "Be brief."), *chats[0]))  # it begins otherwise
    alone = [engine.score([chat])[0].nll for chat in chats]
    assert [scored.nll for scored in engine.score(chats)] == pytest.approx(alone, rel=1e-5)


def test_choices_after_a_shared_context_read_it_once(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    network, read = engine._network(torch.float32), list[int]()
    extend = network.extend

    def counted(cache: object, rows: list[int], pieces: list[list[int]], starts: list[int]) -> torch.Tensor:
        read.append(sum(map(len, pieces)))
        return extend(cache, rows, pieces, starts)  # type: ignore[arg-type]

    monkeypatch.setattr(network, "extend", counted)
    preamble = "The quick brown fox jumps over the lazy dog. " * 8
    contexts = [f"{preamble}{word} is what a sailor needs to explain:" for word in ("Sea", "Story", "Matters")]
    pairs = [(context, choice) for context in contexts for choice in (" the sea", " a dog", " three things", " a")]
    engine.forget()
    shared = engine.follow(pairs)
    together = sum(read)
    read.clear()
    again = engine.follow(pairs)  # begins as what was read last
    assert sum(read) < together / 2
    alone = []
    read.clear()
    for pair in pairs:
        engine.forget()
        alone += engine.follow([pair])
    assert sum(read) > 5 * together
    assert [each.nll for each in shared] == pytest.approx([each.nll for each in alone], rel=1e-4)
    assert [each.nll for each in again] == pytest.approx([each.nll for each in alone], rel=1e-4)


def test_deterministic_scores_are_the_same_bits_in_any_company(tiny_llama: Path) -> None:
    fixed = Engine(tiny_llama, "own/tiny", dtype="bfloat16", deterministic=True)
    chats = [(*user("Why?" * n), Message("assistant", "The sea " * n)) for n in (1, 9, 3)]
    assert fixed.score(chats) == [fixed.score([chat])[0] for chat in chats]


def test_an_answer_of_nothing_scores_its_end_token_alone(engine: Engine) -> None:
    assert [each.tokens for each in engine.score([(*user("Why?"), Message("assistant", ""))])] == [1]


def test_a_text_that_is_all_but_impossible_has_a_finite_score(tmp_path: Path, make_llama: Callable[..., Path]) -> None:
    from safetensors.torch import load_file, save_file

    folder = make_llama(tmp_path / "certain")
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"] *= 300  # log-probabilities of many hundreds: far below what a float32 can be
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    certain = Engine(folder, "own/certain", dtype="float32")
    (found,) = certain.follow([("Tell me a", " short story")])
    [top] = certain.topk([([5, 9, 17], [False, True, True])], 2)
    assert 200 < found.nll / found.tokens < math.inf
    assert np.isfinite(top.logprobs).all()
    assert np.isfinite(top.tail).all()


def test_many_samples_of_one_prompt_differ_only_by_their_seed(engine: Engine) -> None:
    answers = ask(engine, [request(seed=seed) for seed in range(4)])
    assert answers == [ask(engine, [request(seed=seed)])[0] for seed in range(4)]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"max_tokens": 0}, "max_tokens"),
        ({"messages": user("sea " * 2000)}, "context"),
        ({"top_p": 0.0}, "top_p"),
        ({"temperature": -1.0}, "temperature"),
        ({"messages": ()}, "message"),
    ],
)
def test_an_impossible_request_is_refused_in_plain_words(engine: Engine, changes: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        list(engine.answers([request(**changes)]))  # type: ignore[arg-type]


def test_an_answer_ends_where_the_context_does(engine: Engine) -> None:
    (answer,) = ask(engine, [request("sea " * 500, max_tokens=5000)])
    assert (
        answer.finish == "stop" or answer.prompt_tokens + answer.completion_tokens == engine._network("float32").context
    )


@pytest.mark.parametrize(("changes", "said"), [({"slots": 0}, "slot"), ({"dtype": "int8"}, "'int8'")])
def test_an_engine_that_cannot_be_is_refused(tiny_llama: Path, changes: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Engine(tiny_llama, "own/tiny", **changes)  # type: ignore[arg-type]


def test_plain_text_is_scored_as_transformers_does_in_float32(tiny_llama: Path, engine: Engine) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(tiny_llama))
    model = AutoModelForCausalLM.from_pretrained(str(tiny_llama), dtype=torch.float32)
    before, text = "Tell me a", " short story."
    ids = tokenizer(before + text, return_tensors="pt").input_ids
    given = len(tokenizer(before).input_ids)
    with torch.inference_mode():
        logprobs = model(ids).logits[0].log_softmax(-1)
    wanted = -sum(float(logprobs[at - 1, ids[0, at]]) for at in range(given, ids.shape[1]))
    (found,) = engine.follow([(before, text)], dtype="float32")
    assert found.nll == pytest.approx(wanted, rel=1e-5)
    assert found.tokens == ids.shape[1] - given


def test_a_blank_at_the_end_of_what_comes_before_belongs_to_the_text(engine: Engine) -> None:
    assert engine.follow([("Tell me a ", "story")]) == engine.follow([("Tell me a", " story")])


def test_a_text_after_nothing_is_scored_from_its_first_token_on(engine: Engine) -> None:
    whole, rest = engine.follow([("", "Tell me a story"), ("Tell", " me a story")])
    assert whole.nll > rest.nll
    assert whole.tokens > rest.tokens


def test_a_text_longer_than_the_context_is_read_in_pieces(engine: Engine) -> None:
    text = "Tell me a short story about the sea. " * 120
    (found,) = engine.follow([("", text)])
    assert found.tokens == len(engine.format.plain("", text)[0]) - 1 > 1024


def test_a_choice_that_does_not_fit_after_what_comes_before_is_refused(engine: Engine) -> None:
    with pytest.raises(ConfigError, match="context"):
        engine.follow([("Tell me a short story about the sea. " * 120, " yes")])


def test_a_text_without_a_token_of_its_own_is_refused(engine: Engine) -> None:
    with pytest.raises(ConfigError, match="adds no token"):
        engine.follow([("Tell me", "")])
