import unicodedata
from collections.abc import Callable, Iterable, Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trueseed.core.chat import Answer, Finish, Request
from trueseed.errors import ConfigError, Refused
from trueseed.serve.terminal import Console, chat, plain


class Speaker:
    source = "own/speaker"

    def __init__(
        self, script: Callable[[Request], str], *, finish: Finish = "stop", fault: BaseException | None = None
    ):
        self._script, self._finish, self._fault = script, finish, fault
        self.asked: list[Request] = []

    def answers(self, requests: Iterable[Request | None]) -> Iterator[tuple[int, Answer]]:
        raise NotImplementedError

    def stream(self, request: Request) -> Iterator[str | Answer]:
        self.asked.append(request)
        text = self._script(request)
        yield from text
        if self._fault is not None:
            raise self._fault
        yield Answer(text=text, finish=self._finish, prompt_tokens=1, completion_tokens=len(text))


def talk(model: Speaker, *lines: str | BaseException, allowed: Callable[[], None] = lambda: None) -> str:
    """Everything shown while `lines` are typed, and Ctrl-D after them."""
    shown: list[str] = []
    typed = iter([*lines, EOFError()])

    def read(prompt: str) -> str:
        line = next(typed)
        if isinstance(line, BaseException):
            raise line
        return line

    chat(model, Console(read=read, write=shown.append), allowed=allowed)
    return "".join(shown)


def contents(request: Request) -> list[str]:
    return [message.content for message in request.messages]


def test_an_answer_is_shown_and_remembered():
    model = Speaker(lambda request: f"answer {len(request.messages)}")
    shown = talk(model, "one", "  two ", "")
    assert "answer 1\n" in shown and "answer 3\n" in shown
    assert contents(model.asked[1]) == ["one", "answer 1", "two"]


def test_new_forgets():
    model = Speaker(lambda request: "yes")
    talk(model, "one", "/new", "two")
    assert contents(model.asked[1]) == ["two"]


def test_quit_leaves():
    model = Speaker(lambda request: "yes")
    talk(model, "/quit", "one")
    assert model.asked == []


def test_an_unknown_command_is_not_sent_to_the_model():
    model = Speaker(lambda request: "yes")
    assert "/quit leaves" in talk(model, "/halt").split("no command")[1]
    assert model.asked == []


def test_ctrl_c_stops_the_answer_and_not_the_chat():
    model = Speaker(lambda request: "so far", fault=KeyboardInterrupt())
    shown = talk(model, "one", "two")
    assert shown.count("(stopped)") == 2
    assert contents(model.asked[1]) == ["one", "so far", "two"]


def test_ctrl_c_at_the_prompt_does_nothing():
    model = Speaker(lambda request: "yes")
    talk(model, KeyboardInterrupt(), "one")
    assert contents(model.asked[0]) == ["one"]


def test_a_cut_answer_says_so():
    assert "cut" in talk(Speaker(lambda request: "yes", finish="length"), "one")


def test_a_prompt_that_is_too_long_is_said_and_forgotten():
    model = Speaker(lambda request: "", fault=ConfigError("the prompt is too long; /new starts over"))
    assert "the prompt is too long" in talk(model, "one", "two")
    assert contents(model.asked[1]) == ["two"]


def test_a_recall_ends_the_chat():
    def allowed() -> None:
        raise Refused("recalled")

    model = Speaker(lambda request: "yes")
    with pytest.raises(Refused):
        talk(model, "one", allowed=allowed)
    assert model.asked == []


def test_a_recall_breaks_an_answer_off_in_the_middle_and_says_so(monkeypatch):
    monkeypatch.setattr("trueseed.serve.terminal.LOOK_EVERY_S", 0)
    spoken: list[str] = []

    def still() -> None:
        if "".join(spoken).endswith("four"):
            raise Refused("acme/large@api was recalled")

    words = iter(["hello", "/quit"])
    console = Console(read=lambda _: next(words), write=spoken.append)
    with pytest.raises(Refused, match="acme/large@api was recalled"):
        chat(Speaker(lambda request: "four and twenty"), console, still=still)
    assert "".join(spoken).endswith("four\n(broken off: this model may not speak any more)\n")


def test_what_a_model_says_cannot_command_the_terminal():
    shown = talk(Speaker(lambda request: "\x1b]0;owned\x07\x1b[2J\x9b31m\rsafe"), "one")
    assert "␛]0;owned␇␛[2J\N{REPLACEMENT CHARACTER}31m␍safe" in shown


@given(st.text(st.characters()))
@example("\u202eevil\u2066")
@example("\ud800")
def test_plain_text_has_nothing_to_obey(text):
    shown = plain(text)
    assert len(shown) == len(text)
    assert plain(shown) == shown
    assert all(character in "\n\t" or unicodedata.category(character) not in ("Cc", "Cs") for character in shown)
    assert not {unicodedata.bidirectional(character) for character in shown} & {"RLO", "LRO", "RLE", "LRE", "RLI"}


@given(st.text(st.characters(categories=["L", "N", "P", "S", "M", "Zs"])))
def test_plain_text_leaves_words_alone(text):
    assert plain(text) == text
