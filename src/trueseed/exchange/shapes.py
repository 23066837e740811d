"""The chat in a row, in the shapes that TRL, axolotl and LLaMA-Factory read.

    messages       [{"role", "content"}, …]                                 TRL, axolotl `chat_template`, OpenAI
    conversations  [{"from": "human", "value"}, {"from": "gpt", …}, …]      ShareGPT; `system` may stand beside it
    prompt         with `completion`: two texts, or two lists of messages   TRL
    instruction    with `input` and `output` (or response, generation)      Alpaca; `system`, `history` beside it

>>> [message.role for message in chat({"instruction": "Add.", "input": "1 + 1", "output": "2"})]
['user', 'assistant']
"""

from collections.abc import Mapping
from typing import Any, get_args

from trueseed.core.chat import Message, Role

ROLES: Mapping[str, Role] = {
    **{role: role for role in get_args(Role)},
    "human": "user",
    "gpt": "assistant",
    "model": "assistant",
    "chatgpt": "assistant",
    "bard": "assistant",
    "developer": "system",
    "observation": "tool",
}
ANSWERS = ("output", "response", "generation")


def chat(row: Mapping[str, Any]) -> tuple[Message, ...]:
    """The messages of a row, an answer last. Raises `ValueError`, in words, when there is no such chat in it."""
    if row.get("chosen") is not None or row.get("rejected") is not None:
        raise ValueError("it is a preference (chosen, rejected); import the preferred answers as prompt and completion")
    found = _found(row)
    if not found or found[-1].role != "assistant":
        raise ValueError("it does not end with an answer (of the assistant)")
    if all(message.role in ("assistant", "system") for message in found):
        raise ValueError("nobody asks in it")
    for message in found:
        message.content.encode()  # raises for lone surrogates, which have no canonical form
    if not found[-1].content.strip():
        raise ValueError("its answer is empty")
    return found


def _found(row: Mapping[str, Any]) -> tuple[Message, ...]:
    if row.get("messages") is not None:
        return _messages(row["messages"], "messages")
    for name in ("conversations", "conversation"):
        if row.get(name) is not None:
            return (*_system(row), *_messages(row[name], name))
    if row.get("prompt") is not None and row.get("completion") is not None:
        return (*_system(row), *_side(row, "prompt", "user"), *_side(row, "completion", "assistant"))
    answer = next((name for name in ANSWERS if row.get(name) is not None), None)
    if row.get("instruction") is not None and answer:
        asked = _text(row, "instruction") + (f"\n{_text(row, 'input')}" if row.get("input") else "")
        return (*_system(row), *_history(row), Message("user", asked), Message("assistant", _text(row, answer)))
    raise ValueError(
        "there is no chat in it: give `messages`, `conversations`, `prompt` and `completion`, or `instruction` and "
        f"`output`; it has {', '.join(map(str, row)) or 'no columns'}"
    )


def _messages(value: Any, name: str) -> tuple[Message, ...]:
    if not isinstance(value, list):
        raise ValueError(f"{name!r} is not a list")
    return tuple(_message(each, f"message {number} of {name!r}") for number, each in enumerate(value, start=1))


def _message(value: Any, which: str) -> Message:
    if not isinstance(value, dict):
        raise ValueError(f"{which} is not an object")
    role = value.get("role", value.get("from"))
    if not isinstance(role, str) or role not in ROLES:
        raise ValueError(f"{which} is of the role {role!r}; the roles are {', '.join(ROLES)}")
    if value.get("tool_calls"):
        raise ValueError(f"{which} calls tools, which records do not hold")
    content = value.get("content", value.get("value"))
    if isinstance(content, list) and all(isinstance(part, dict) and part.get("type") == "text" for part in content):
        content = "".join(str(part.get("text", "")) for part in content)
    if not isinstance(content, str):
        raise ValueError(f"{which} holds no text")
    return Message(ROLES[role], content)


def _side(row: Mapping[str, Any], name: str, role: Role) -> tuple[Message, ...]:
    return (Message(role, row[name]),) if isinstance(row[name], str) else _messages(row[name], name)


def _system(row: Mapping[str, Any]) -> tuple[Message, ...]:
    return (Message("system", _text(row, "system")),) if row.get("system") else ()


def _history(row: Mapping[str, Any]) -> tuple[Message, ...]:
    turns = row.get("history") or []
    if not isinstance(turns, list) or not all(isinstance(each, list) and len(each) == 2 for each in turns):
        raise ValueError("'history' is not a list of questions with their answers")
    pairs: list[Message] = []
    for asked, answered in turns:
        if not isinstance(asked, str) or not isinstance(answered, str):
            raise ValueError("'history' holds something else than text")
        pairs += [Message("user", asked), Message("assistant", answered)]
    return tuple(pairs)


def _text(row: Mapping[str, Any], name: str) -> str:
    if not isinstance(row[name], str):
        raise ValueError(f"{name!r} is not text")
    return str(row[name])
