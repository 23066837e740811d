"""Chatting in a terminal.

    chat(engine)

`/new` starts over, `/quit` or Ctrl-D leaves, Ctrl-C stops an answer. What a model says is shown as text and nothing
else: a terminal obeys control characters, so each is replaced by a visible sign before it is printed.
"""

import secrets
import time
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from trueseed.core.chat import Answer, ChatModel, Message, Request
from trueseed.errors import ConfigError, Refused

_HINT = "/new starts over, /quit leaves, Ctrl-C stops an answer."
LOOK_EVERY_S = 2.0  # while an answer is spoken
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_DIRECTING = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")  # they reorder what follows on the line


def _print(text: str) -> None:
    print(text, end="", flush=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Console:
    """Where words come from and go to. `read` raises `EOFError` at the end."""

    read: Callable[[str], str] = input
    write: Callable[[str], None] = _print


def plain(text: str) -> str:
    """`text` with nothing in it that a terminal obeys: control characters, lone surrogates, direction overrides.

    >>> plain("safe\\x1b[2J")
    'safe␛[2J'
    """
    return "".join(map(_visible, text))


def _visible(character: str) -> str:
    if character in "\n\t":
        return character
    if ord(character) < 0x20:
        return chr(0x2400 + ord(character))  # Unicode has a picture of each
    hidden = unicodedata.category(character) in ("Cc", "Cs") or unicodedata.bidirectional(character) in _DIRECTING
    return _REPLACEMENT if hidden else character


def chat(
    model: ChatModel,
    console: Console | None = None,
    *,
    allowed: Callable[[], None] = lambda: None,
    still: Callable[[], None] = lambda: None,
    max_tokens: int = 1024,
    temperature: float = 0.3,
    top_p: float = 0.9,
) -> None:
    """Talks until the user leaves. allowed: asked before every answer, and `still` every two seconds while one is
    spoken; what they raise ends the chat.
    """
    console = console or Console()
    console.write(f"Talking to {plain(model.source)}. {_HINT}\n")
    messages: tuple[Message, ...] = ()
    while (line := _line(console)) != "/quit":
        if line == "/new":
            messages = ()
            console.write("A new chat.\n")
        elif line.startswith("/") and " " not in line:
            console.write(f"There is no command {plain(line)!r}. {_HINT}\n")
        elif line:
            allowed()
            asked = (*messages, Message("user", line))
            request = Request(
                messages=asked,
                max_tokens=max_tokens,
                temperature=temperature,
                top_p=top_p,
                seed=secrets.randbits(63),
            )
            said = _answer(model, request, console, still)
            messages = (*asked, Message("assistant", said)) if said else messages


def _line(console: Console) -> str:
    try:
        return console.read("\nyou: ").strip()
    except EOFError:
        console.write("\n")
        return "/quit"
    except KeyboardInterrupt:
        console.write("\n")
        return ""


def _answer(model: ChatModel, request: Request, console: Console, still: Callable[[], None]) -> str:
    """What the model said, as far as it came."""
    said, looked_at = "", time.monotonic()
    console.write("\n")
    try:
        for item in model.stream(request):
            if time.monotonic() - looked_at >= LOOK_EVERY_S:
                still()
                looked_at = time.monotonic()
            if isinstance(item, Answer):
                console.write("\n" if item.finish == "stop" else "\n(cut: the answer reached its longest length)\n")
                return item.text
            said += item
            console.write(plain(item))
    except KeyboardInterrupt:
        console.write("\n(stopped)\n")
    except Refused:
        console.write("\n(broken off: this model may not speak any more)\n")
        raise
    except ConfigError as err:
        console.write(f"{plain(str(err))}\n")
    return said
