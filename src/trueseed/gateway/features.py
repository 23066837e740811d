"""Features of a provider's service that a request asks for, as its wire shows them: they may have terms of their own.

    seen({"tools": [{"type": "web_search"}]})    # (Seen(feature="search", parameter="tools"),)

Names differ from wire to wire; the words of terms documents (`features = ["search"]`) do not. What cannot be seen in a
body (a model that searches whatever it is asked) is declared: of an upstream, of a key, or in `X-TrueSeed-Feature`.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from trueseed.access.faults import Fault

MOST = 8
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_SEARCH: Mapping[str, tuple[Any, ...]] = {  # parameter: the values that ask for nothing
    "web_search_options": (None,),  # OpenAI
    "search_parameters": (None,),  # xAI
    "enable_search": (None, False),  # Qwen
}
_TOOLS = (  # how a tool's type or only key begins: what it is
    (("web_search", "$web_search", "google_search", "googlesearch", "browser_search", "live_search"), "search"),
    (("code_interpreter", "code_execution", "codeexecution"), "code"),
    (("file_search", "document_library"), "files"),
    (("image_generation",), "images"),
    (("url_context", "urlcontext"), "url-context"),
)
_OURS = ("function", "custom")  # run by whoever asks, and billed as text
_PLUGINS = {"web": "search", "file-parser": "files"}  # OpenRouter
_ASKING = frozenset((*_SEARCH, "plugins", "tools"))


class Seen(NamedTuple):
    """parameter: of the request, which asks for it."""

    feature: str
    parameter: str


def seen(body: Mapping[str, Any]) -> tuple[Seen, ...]:
    """Each once. Raises `Fault` for tools and plugins that are not known."""
    if _ASKING.isdisjoint(body):  # as most are
        return ()
    return tuple(dict.fromkeys([*_searches(body), *_plugins(body.get("plugins")), *_tools(body.get("tools"))]))


def named(header: str | None) -> tuple[str, ...]:
    """From a header: names with commas between. Raises `Fault` for what is no name."""
    if not header:
        return ()
    names = tuple(dict.fromkeys(filter(None, (each.strip() for each in header.split(",")))))
    if len(names) > MOST or not all(_NAME.fullmatch(each) for each in names):
        raise _unknown(
            "X-TrueSeed-Feature",
            f"give at most {MOST} names of features, as terms documents write them (search), with commas between",
        )
    return names


def _searches(body: Mapping[str, Any]) -> Iterator[Seen]:
    yield from (Seen("search", name) for name, nothing in _SEARCH.items() if body.get(name) not in nothing)


def _plugins(plugins: Any) -> Iterator[Seen]:
    if plugins in (None, []):
        return
    for each in plugins if isinstance(plugins, list) else [plugins]:
        name = str(each.get("id") if isinstance(each, dict) else None)
        if name not in _PLUGINS:  # one routes to other models
            raise _unknown("plugins", f"what {name!r} does and costs is not known here; leave it out")
        yield Seen(_PLUGINS[name], "plugins")


def _tools(tools: Any) -> Iterator[Seen]:
    if tools is None:
        return
    if not isinstance(tools, list) or not all(isinstance(each, dict) and each for each in tools):
        raise _unknown("tools", "give a list of tools")
    for tool in tools:
        kind = tool.get("type")
        if kind in _OURS:
            yield from _beside(tool)
            continue
        inner = tool.get("function")
        told = inner.get("name") if kind == "builtin_function" and isinstance(inner, dict) else kind  # Moonshot
        word = str(told if told is not None else next(iter(tool))).lower()  # Gemini has the name for a key
        yield from _beside({each: None for each in tool if each.lower() != word})
        found = _what(word)
        if not found:
            raise _unknown("tools", f"give functions; what {word[:40]!r} does and costs is not known here")
        yield Seen(found, "tools")


def _beside(tool: Mapping[str, Any]) -> Iterator[Seen]:
    """A server that goes by keys takes those of a tool that goes by its type."""
    yield from (Seen(found, "tools") for key in tool if (found := _what(key.lower())))


def _what(word: str) -> str:
    return next((what for starts, what in _TOOLS if word.startswith(starts)), "")


def _unknown(parameter: str, what: str) -> Fault:
    return Fault(400, f"{parameter}: {what}", code="invalid_value", param=parameter)
