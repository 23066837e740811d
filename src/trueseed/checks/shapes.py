"""The form an answer takes as a whole: lists, JSON, tables, sections."""

import json
import re
from random import Random
from typing import Any

from trueseed.checks.kind import Args, Kind, nothing, unlike
from trueseed.checks.text import count, lines, listed, settled, settled_lines, words

KEYS = (
    ("answer", "reason"), ("name", "why"), ("idea", "cost"), ("title", "text"), ("tip", "benefit"), ("what", "when"),
    ("topic", "summary"), ("first", "second"), ("short", "long"), ("item", "use"), ("question", "answer"),
    ("name", "type", "reason"), ("step", "time", "note"), ("title", "place", "detail"), ("who", "what", "why"),
)  # fmt: skip
TAGS = ("answer", "note", "reply", "text", "tip", "result")
LABELS = (
    ("Answer", "Reason"),
    ("Idea", "Why"),
    ("Short", "Detail"),
    ("Tip", "Example"),
    ("What", "How"),
    ("Pro", "Con"),
)
VERDICTS = (("Effort", ("low", "medium", "high")), ("Mood", ("happy", "calm", "sad")), ("Sure", ("yes", "no", "maybe")),
            ("Level", ("easy", "medium", "hard")), ("Cost", ("cheap", "fair", "expensive")))  # fmt: skip


def bullets(answer: str, n: int) -> str:
    """Exactly n lines begin with "- ", "* " or "• ", each with a word; other lines may stand before or after."""
    found = _bullets(answer)
    return "" if found == n else f"it has {count(found, 'bullet point')}, and must have exactly {n}"


def _bullets(answer: str) -> int:
    return sum(bool(re.match(r"[-*•] +\S", line)) and bool(words(line)) for line in lines(answer))


def numbered(answer: str, n: int) -> str:
    """The lines that begin with a number and "." or ")" are numbered 1 to n in order, each with a word after it."""
    if _numbers(answer) != list(range(1, n + 1)):
        return f"it has {count(len(_numbers(answer)), 'numbered line')}, and must have lines numbered 1 to {n}"
    return "" if all(words(match[2]) for match in _numbered(answer)) else "one of its numbered lines is empty"


def _numbered(answer: str) -> list[re.Match[str]]:
    return [match for line in lines(answer) if (match := re.match(r"(\d+)[.)] +(.*)", line))]


def _numbers(answer: str) -> list[int]:
    return [int(match[1][:4]) for match in _numbered(answer)]


def lettered(answer: str, n: int) -> str:
    """The lines that begin with a letter and ")" are a), b), c)… to the n-th in order, each with a word after it."""
    if _letters(answer) != list("abcdefgh"[:n]):
        return f"it has {count(len(_letters(answer)), 'lettered line')}, and must have lines a) to {'abcdefgh'[n - 1]})"
    return "" if all(words(match[2]) for match in _lettered(answer)) else "one of its lettered lines is empty"


def _lettered(answer: str) -> list[re.Match[str]]:
    return [match for line in lines(answer) if (match := re.match(r"\(?([A-Za-z])\) +(.*)", line))]


def _letters(answer: str) -> list[str]:
    return [match[1].lower() for match in _lettered(answer)]


def comma_list(answer: str, n: int) -> str:
    """One line: exactly n parts between commas, each of one to five words; a final full stop is allowed."""
    found = lines(answer)
    if len(found) != 1:
        return f"it has {len(found)} lines, and must be a list on one line"
    parts = _listed(answer)
    if len(parts) != n:
        return f"it lists {count(len(parts), 'thing')}, and must list exactly {n} separated by commas"
    return "" if all(1 <= len(part) <= 5 for part in parts) else "each listed thing must have one to five words"


def _listed(answer: str) -> list[list[str]]:
    return [words(part) for part in answer.strip().rstrip(".").split(",")]


def arrows(answer: str, n: int) -> str:
    """One line: exactly n parts joined by "->" (or →), each with a word."""
    found = lines(answer)
    if len(found) != 1:
        return f"it has {len(found)} lines, and must be one line"
    parts = _chained(answer)
    if len(parts) != n:
        return f"arrows join {count(len(parts), 'part')}, and must join exactly {n}"
    return "" if all(words(part) for part in parts) else "one of the parts is empty"


def _chained(answer: str) -> list[str]:
    return re.split(r"\s*(?:->|→)\s*", answer.strip())


def json_object(answer: str, keys: list[str]) -> str:
    """The whole answer, or all of one fenced block that is the answer, is a JSON object with exactly these keys.

    Every value is a string with a word in it, a number, true or false, or a list or object that is not empty.
    """
    match = re.fullmatch(r"```(?:json)?\s*\n(.*?)\n?\s*```", answer.strip(), re.DOTALL)
    try:
        value: Any = json.loads(match[1] if match else answer)
    except (ValueError, RecursionError):
        return "it is not JSON alone"
    if not isinstance(value, dict) or set(value) != set(keys):
        return f"it is not a JSON object with exactly the keys {listed(keys)}"
    return "" if all(map(_says_something, value.values())) else "one of its JSON values is empty"


_NO_OBJECT = unlike(r"(?:```(?:json)?\s*)?\{.*")


def _no_such_object(beginning: str, keys: list[str]) -> bool:
    """It does not begin as an object, or a whole object stands there with other keys, or with words after it."""
    text = beginning.strip()
    try:
        value, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return _NO_OBJECT(beginning)
    return not isinstance(value, dict) or set(value) != set(keys) or bool(text[end:].strip())


def _says_something(value: Any) -> bool:
    return bool(words(value)) if isinstance(value, str) else isinstance(value, (bool, int, float)) or bool(value)


def table(answer: str, n: int) -> str:
    """A Markdown table: a header, a line of dashes, exactly n rows; every line has the same number (≥ 2) of cells."""
    rows = _rows(lines(answer))
    if len(rows) < 2 or not all(re.fullmatch(r"\s*:?-+:?\s*", cell) for cell in rows[1]):
        return "it has no table with a header and a line of dashes below"
    if len({len(row) for row in rows}) != 1 or len(rows[0]) < 2:
        return "the rows of its table do not all have the same number of cells"
    found = len(rows) - 2
    if found != n:
        return f"its table has {count(found, 'row')} below the header, and must have {n}"
    return "" if all(words(" ".join(row)) for row in rows[2:]) else "one of the rows is empty"


def _rows(found: list[str]) -> list[list[str]]:
    return [line.strip("|").split("|") for line in found if line.startswith("|") and line.endswith("|")]


def code_block(answer: str) -> str:
    """The whole answer is one block between lines of three backticks, with words inside."""
    match = re.fullmatch(r"```[\w+-]*\n(.*?)\n```", answer.strip(), re.DOTALL)
    if not match or "```" in match[1]:
        return "it is not one block between lines of three backticks"
    return "" if words(match[1]) else "the block is empty"


_NO_BLOCK = unlike(r"```[\w+-]*\n.*")


def _outside_a_block(beginning: str) -> bool:
    """It does not begin with a fence, or goes on after the second one."""
    return _NO_BLOCK(beginning) or _goes_on(beginning.strip()[3:], "```")


def _goes_on(text: str, mark: str) -> bool:
    return bool(text.partition(mark)[2].strip())


def tagged(answer: str, tag: str) -> str:
    """The whole answer stands between <tag> and </tag>, with words inside."""
    match = re.fullmatch(rf"<{tag}>(.*)</{tag}>", answer.strip(), re.DOTALL)
    if not match or f"<{tag}>" in match[1] or f"</{tag}>" in match[1]:
        return f"it does not stand between <{tag}> and </{tag}>"
    return "" if words(match[1]) else f"there is nothing between <{tag}> and </{tag}>"


_NO_TAG = unlike("<{tag}>.*")


def _outside_tags(beginning: str, tag: str) -> bool:
    """It does not begin with the tag, or goes on after the closing one."""
    return _NO_TAG(beginning, tag=tag) or _goes_on(beginning, f"</{tag}>")


def sections(answer: str, n: int) -> str:
    """The lines that begin with "SECTION" and a number are numbered 1 to n in order; words follow each."""
    parts = re.split(_SECTION, answer)
    if _section_numbers(answer) != [str(i) for i in range(1, n + 1)]:
        return f"it has {count(len(parts) // 2, 'section')}, and must have SECTION 1 to SECTION {n}"
    return "" if all(words(part) for part in parts[2::2]) else "one of the sections is empty"


_SECTION = re.compile(r"(?m)^[#*\s]*SECTION (\d+)")


def _section_numbers(answer: str) -> list[str]:
    return [number[:4].lstrip("0") for number in _SECTION.findall(answer)]


def _other_sections(beginning: str, n: int) -> bool:
    found = _section_numbers(settled(beginning))
    return found != [str(i) for i in range(1, n + 1)][: len(found)]


def starred_parts(answer: str, n: int) -> str:
    """Exactly n parts with a word each, separated by lines that hold nothing but three asterisks."""
    parts = re.split(r"(?m)^[ \t]*\*\*\*[ \t]*$", answer.strip())
    if len(parts) != n:
        return f"it has {count(len(parts), 'part')} separated by ***, and must have exactly {n}"
    return "" if all(words(part) for part in parts) else "one of the parts is empty"


def paragraphs(answer: str, n: int) -> str:
    """Exactly n paragraphs with a word each, separated by blank lines."""
    found = len(_paragraphs(answer))
    return "" if found == n else f"it has {count(found, 'paragraph')}, and must have exactly {n}"


def _paragraphs(answer: str) -> list[str]:
    return [part for part in re.split(r"\n\s*\n", answer.strip()) if words(part)]


def labelled(answer: str, labels: list[str]) -> str:
    """One line for each label and no other: the label, a colon, words."""
    found = [re.sub(r"^\*\*(.+?):?\*\*:?", r"\1:", line) for line in lines(answer)]
    for label, line in zip(labels, found, strict=False):
        if not line.startswith(f"{label}:") or not words(line[len(label) + 1 :]):
            return f"a line does not begin with {label!r} and a colon, with words after that"
    return "" if len(found) == len(labels) else f"it has {count(len(found), 'line')}, and must have {len(labels)}"


def _labelled_otherwise(beginning: str, labels: list[str]) -> bool:
    """A line that has ended, or the beginning of the next, is not what its label wants, or there are too many."""
    ended, under_way = settled_lines(beginning), lines(beginning)
    if len(under_way) > len(labels):
        return True
    if any(labelled(line, [label]) for label, line in zip(labels, ended, strict=False)):
        return True
    return len(under_way) > len(ended) and unlike(r"{label}:.*|\*\*.*")(under_way[-1], label=labels[len(ended)])


def verdict(answer: str, label: str, choices: list[str]) -> str:
    """The last line is the label, a colon and one of the choices; words stand above it."""
    found = lines(answer)
    last = re.fullmatch(rf"{label}: *(\w+)\.?", found[-1]) if found else None
    if not last or last[1].lower() not in choices:
        return f'its last line is not "{label}:" and one of {listed(choices)}'
    return "" if words(" ".join(found[:-1])) else "nothing stands above the last line"


def _verdict(rng: Random) -> Args:
    label, choices = rng.choice(VERDICTS)
    return {"label": label, "choices": list(choices)}


KINDS = (
    Kind(
        name="bullets",
        family="whole",
        fault=bullets,
        doomed=lambda beginning, n: _bullets(beginning) > n,
        draw=lambda rng: {"n": rng.choice((2, 3, 3, 4))},
        wordings=(
            'Use exactly {n} bullet points, each on a line that begins with "- ".',
            "Answer with exactly {n} bullet points.",
            "Give {n} bullet points (lines starting with - or *), no more and no fewer.",
            "Write it as a list of exactly {n} bullets.",
        ),
        how="Write exactly {n} lines. Each begins with a hyphen and a space, then a few words. Nothing else.",
    ),
    Kind(
        name="numbered",
        family="whole",
        fault=numbered,
        doomed=lambda beginning, n: _numbers(beginning) != list(range(1, n + 1))[: len(_numbers(beginning))],
        draw=lambda rng: {"n": rng.choice((2, 3, 3, 4))},
        wordings=(
            "Answer with a numbered list of exactly {n} items.",
            "Number your points from 1 to {n}, one on each line.",
            "Write it as a list numbered 1 to {n}.",
            "Give exactly {n} numbered points.",
        ),
        how='Write exactly {n} lines that begin with "1. ", "2. " and so on, each with a few words. Then stop.',
    ),
    Kind(
        name="lettered",
        family="whole",
        fault=lettered,
        doomed=lambda beginning, n: _letters(beginning) != list("abcdefgh"[:n])[: len(_letters(beginning))],
        draw=lambda rng: {"n": rng.choice((2, 3, 3))},
        say=lambda args: {"n": str(args["n"]), "last": "abcdefgh"[args["n"] - 1]},
        wordings=(
            "Answer with exactly {n} points lettered a) to {last}), one on each line.",
            "Write {n} lines that begin with a), b) and so on, up to {last}).",
            "List exactly {n} points and mark them a) to {last}) instead of with numbers.",
        ),
        how="Write exactly {n} lines; the first begins with a) and the last with {last}). Nothing else.",
    ),
    Kind(
        name="comma_list",
        family="whole",
        fault=comma_list,
        doomed=lambda beginning, n: len(lines(beginning)) > 1 or len(_listed(beginning)) > n,
        draw=lambda rng: {"n": rng.choice((3, 4, 5))},
        wordings=(
            "Answer with a list of exactly {n} things on one line, separated by commas.",
            "Give just {n} items separated by commas, nothing else.",
            "Write only a comma-separated list of {n} short items.",
        ),
        how="Write {n} short items on one line with a comma between them, such as: one, two, three. No sentence.",
    ),
    Kind(
        name="arrows",
        family="whole",
        fault=arrows,
        doomed=lambda beginning, n: len(lines(beginning)) > 1 or len(_chained(beginning)) > n,
        draw=lambda rng: {"n": rng.choice((2, 3, 3))},
        wordings=(
            'Write the answer on one line as {n} short parts joined by " -> ".',
            "Give it as a chain of exactly {n} parts with arrows (->) between them.",
            'Answer in one line with exactly {n} steps, separated by "->".',
        ),
        how="Write one line with {n} short parts and -> between them, like: first -> second. Nothing else.",
    ),
    Kind(
        name="json_object",
        family="whole",
        fault=json_object,
        doomed=_no_such_object,
        draw=lambda rng: {"keys": list(rng.choice(KEYS))},
        say=lambda args: {
            "keys": listed(args["keys"]),
            "form": "{" + ", ".join(f'"{key}": "..."' for key in args["keys"]) + "}",
        },
        wordings=(
            "Answer with a JSON object that has exactly the keys {keys}.",
            "Give the answer as JSON with the keys {keys} and nothing else.",
            "Your whole answer must be one JSON object with these keys: {keys}.",
            "Reply only in JSON, using exactly the keys {keys}.",
        ),
        how="Reply with one line of this form, replacing the dots with your words: {form}",
    ),
    Kind(
        name="table",
        family="whole",
        fault=table,
        doomed=lambda beginning, n: len(_rows(settled_lines(beginning))) > n + 2,
        draw=lambda rng: {"n": rng.choice((2, 2, 3))},
        wordings=(
            "Answer with a Markdown table that has a header and exactly {n} rows below it.",
            "Put the answer in a table (Markdown, with | and a line of dashes) with {n} rows under the header.",
            "Write it as a small Markdown table with {n} rows of content.",
        ),
        how="First line: | Name | Note |. Second line: | --- | --- |. Then exactly {n} lines like | tea | warm |.",
    ),
    Kind(
        name="code_block",
        family="whole",
        fault=code_block,
        doomed=_outside_a_block,
        draw=nothing,
        wordings=(
            "Put your whole answer in a code block (between lines of three backticks).",
            "Answer inside one code block, with ``` before and after, and nothing outside.",
            "Wrap everything you write in a fenced code block (```).",
        ),
        how="First line: ```. Then one or two sentences on the next line. Last line: ``` and nothing after.",
    ),
    Kind(
        name="tagged",
        family="whole",
        fault=tagged,
        doomed=_outside_tags,
        draw=lambda rng: {"tag": rng.choice(TAGS)},
        wordings=(
            "Put your whole answer between <{tag}> and </{tag}>.",
            "Wrap the answer in the tag {tag}: begin with <{tag}> and end with </{tag}>.",
            "Everything you write must stand inside <{tag}>...</{tag}>.",
        ),
        how="Write <{tag}> first, then one or two sentences, then </{tag}> and nothing more.",
    ),
    Kind(
        name="sections",
        family="whole",
        fault=sections,
        doomed=_other_sections,
        draw=lambda rng: {"n": rng.choice((2, 2, 3))},
        wordings=(
            "Divide your answer into {n} sections that begin with SECTION 1, SECTION 2 and so on.",
            'Write {n} short sections, each headed "SECTION" and its number.',
            'Use exactly {n} sections; mark them "SECTION 1", "SECTION 2", up to {n}.',
        ),
        how="Write SECTION 1 on a line, one sentence below it, then SECTION 2 and one sentence, up to SECTION {n}.",
    ),
    Kind(
        name="starred_parts",
        family="whole",
        fault=starred_parts,
        doomed=lambda beginning, n: len(re.findall(r"(?m)^[ \t]*\*\*\*[ \t]*\n", beginning.lstrip())) >= n,
        draw=lambda rng: {"n": rng.choice((2, 2, 3))},
        wordings=(
            "Write {n} short parts separated by a line with three asterisks (***).",
            "Give two or more parts, exactly {n}, with a line *** between them.",
            "Your answer must have {n} parts, divided by a line that holds only ***.",
        ),
        how="Write one sentence. On the next line write ***. Then the next sentence, until there are {n} sentences.",
    ),
    Kind(
        name="paragraphs",
        family="count",
        fault=paragraphs,
        doomed=lambda beginning, n: len(_paragraphs(beginning)) > n,
        draw=lambda rng: {"n": rng.choice((2, 2, 3))},
        wordings=(
            "Write exactly {n} short paragraphs with a blank line between them.",
            "Answer in {n} paragraphs separated by blank lines, one or two sentences each.",
            "Your answer should have exactly {n} brief paragraphs.",
        ),
        how="Write one or two sentences, leave a line blank, and write the next, until there are {n} paragraphs.",
    ),
    Kind(
        name="labelled",
        family="whole",
        fault=labelled,
        doomed=_labelled_otherwise,
        draw=lambda rng: {"labels": list(rng.choice(LABELS))},
        say=lambda args: {"first": args["labels"][0], "second": args["labels"][1]},
        wordings=(
            'Answer in two lines: the first begins with "{first}:", the second with "{second}:".',
            'Use exactly two lines, labelled "{first}:" and "{second}:".',
            "Write one line starting {first}: and one line starting {second}:, and nothing else.",
        ),
        how="First line: {first}: and a few words. Second line: {second}: and a few words. Nothing else.",
    ),
    Kind(
        name="verdict",
        family="ending",
        fault=verdict,
        draw=_verdict,
        say=lambda args: {
            "label": args["label"],
            "choices": ", ".join(args["choices"][:-1]) + " or " + args["choices"][-1],
            "one": args["choices"][0],
        },
        wordings=(
            'End with a line "{label}:" followed by one of {choices}.',
            'On the last line write "{label}:" and then {choices}.',
            'Add a final line that says "{label}:" and one word: {choices}.',
        ),
        how='Write one or two sentences. Then a new line like "{label}: {one}" and nothing after.',
    ),
)
