"""The rung `formed`: the teacher answers the bare prompt, and its words are put into the form that a constraint wants.

A small teacher can say what rain is, and cannot say it in a table. Here it says what it can; the constraint is chosen
and its arguments are drawn so that these very words satisfy it (as hindsight experience replay does for goals,
Andrychowicz et al. 2017, arXiv:1707.01495), or the words are laid out in the asked form: sentence by sentence as
bullets, keys or sections, in capitals, between tags. Nothing is added but what the task itself dictates and a few
fixed closing words. The check has the last say, as everywhere.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from trueseed.checks import Constraint, Task, check, sample
from trueseed.checks.task import VARIANTS, together
from trueseed.checks.text import bare, sentences
from trueseed.core.prompts import Prompt

TRIES = 24  # draws of arguments before a kind is given up for these words
FROM_WORDS = frozenset(("keyword", "two_keywords", "keyword_times"))  # arguments come from what was said
COUNTED = frozenset(  # argument n: so many sentences
    ("arrows", "bullets", "lettered", "line_count", "numbered", "paragraphs", "sections", "sentence_count")
) | {"starred_parts", "table"}
CLOSING_QUESTIONS = ("Does that help?", "What do you think?", "Does this answer your question?")
COMMON = frozenset(
    """about after again also because been before being could does doing down each from have having here into itself
    just like make more most much only other over same should some such than that their them then there these they this
    those through under until very what when where which while will with would your""".split()  # noqa: SIM905
)

Args = Mapping[str, Any]
Form = Callable[[Args, Sequence[str], Random], str]  # arguments, the teacher's sentences → the text, "" if it cannot be


@dataclass(frozen=True, slots=True)
class Sentences:
    """A `Watch` that has enough after n sentences; the next one has begun then, so that they are whole."""

    n: int

    def enough(self, beginning: str) -> bool:
        return len(sentences(beginning)) > self.n

    def of(self, text: str) -> str:
        """The first n sentences."""
        return " ".join(sentences(text)[: self.n])

    def to_json(self) -> dict[str, int]:
        return {"sentences": self.n}


def wanted(constraint: Constraint) -> int:
    """How many sentences the form takes at least."""
    if constraint.kind in COUNTED:
        return int(constraint.args["n"])
    if constraint.kind in ("postscript", "keyword_times"):
        return 2
    return len(constraint.args.get("keys", constraint.args.get("labels", "1")))


def fit(
    prompt: Prompt, meant: Constraint, others: Sequence[str], words: str, rng: Random, *, two: float
) -> tuple[Task, str]:
    """A task on `prompt`, and the words in its form. Its first constraint is `meant`, or the same kind drawn anew.

    With probability `two` a second constraint of another kind joins, if these words satisfy one. Raises `ValueError`
    when the words cannot be brought into the form.
    """
    for first in _draws(meant, words, rng):
        text = _laid_out(first, words, rng)
        if text and check(first, text):
            constraints = (first, *_second(first, others, text, rng, two))
            task = Task(
                prompt_id=prompt.id, prompt=prompt.text, constraints=constraints, variant=rng.randrange(VARIANTS)
            )
            return task, text
    raise ValueError(f"its words do not fit {meant.kind}")


def _draws(meant: Constraint, words: str, rng: Random) -> Iterator[Constraint]:
    if meant.kind not in FROM_WORDS:
        yield meant
    for _ in range(TRIES):
        if found := _drawn(meant.kind, words, rng):
            yield found


def _second(first: Constraint, others: Sequence[str], text: str, rng: Random, two: float) -> Iterator[Constraint]:
    if rng.random() < two:
        for name in rng.sample(list(others), len(others)):
            found = _drawn(name, text, rng)
            if found and together(first, found) and check(found, text):
                yield found
                return


def _drawn(name: str, words: str, rng: Random) -> Constraint | None:
    """A constraint of this kind; kinds about words get them from what was said."""
    if name not in FROM_WORDS:
        return sample(name, rng)
    said = bare(words)
    content = sorted({word for word in said if len(word) > 4 and word not in COMMON and word.isalpha()})
    if name == "keyword_times":
        content = [word for word in content if said.count(word) >= 2]
    if len(content) < 2:
        return None
    first, second = rng.sample(content, 2)
    arguments: dict[str, dict[str, Any]] = {
        "keyword": {"word": first},
        "two_keywords": {"first": first, "second": second},
        "keyword_times": {"word": first, "n": min(3, said.count(first))},
    }
    return Constraint(name, arguments[name])


def _laid_out(constraint: Constraint, words: str, rng: Random) -> str:
    said = sentences(words)
    if not said:
        return ""
    form = FORMS.get(constraint.kind)
    return form(constraint.args, said, rng) if form else " ".join(said)


def _parts(n: int, said: Sequence[str]) -> Sequence[str]:
    """The first n sentences; none when there are fewer."""
    return said[:n] if len(said) >= n else ()


def _rows(marker: Callable[[int], str]) -> Form:
    def form(args: Args, said: Sequence[str], rng: Random) -> str:
        return "\n".join(f"{marker(i)}{part}" for i, part in enumerate(_parts(args["n"], said), start=1))

    return form


def _joined(by: str) -> Form:
    def form(args: Args, said: Sequence[str], rng: Random) -> str:
        return by.join(_parts(args["n"], said))

    return form


def _started(args: Args, said: Sequence[str], rng: Random) -> str:
    text = " ".join(said)
    phrase = args["phrase"]
    if phrase[-1].isalnum():
        phrase += ","
    first = text.split()[0]
    keeps_capital = first in ("I", "I'm", "I'd", "I'll", "I've") or (len(first) > 1 and first[1].isupper())
    return f"{phrase} {text if keeps_capital else text[0].lower() + text[1:]}"


def _titled(args: Args, said: Sequence[str], rng: Random) -> str:
    title = [word.strip(".,;:!?\"'()").capitalize() for word in said[0].split()[: rng.randint(3, 5)]]
    return f"<<{' '.join(title)}>>\n{' '.join(said)}"


def _marked(left: str, right: str) -> Form:
    """Longer words of the text put between marks, as many as asked for."""

    def form(args: Args, said: Sequence[str], rng: Random) -> str:
        pieces = " ".join(said).split()
        fit = [i for i, piece in enumerate(pieces) if len(piece) > 4 and piece.isalpha()]
        if len(fit) < args["n"]:
            return ""
        for i in rng.sample(fit, args["n"]):
            pieces[i] = f"{left}{pieces[i]}{right}"
        return " ".join(pieces)

    return form


def _shouted(args: Args, said: Sequence[str], rng: Random) -> str:
    pieces = " ".join(said).split()
    long = [i for i, piece in enumerate(pieces) if len(piece) > 4 and piece.isalpha()]
    for i in rng.sample(long, min(args["n"], len(long))):
        pieces[i] = pieces[i].upper()
    return " ".join(pieces)


def _hashtags(args: Args, said: Sequence[str], rng: Random) -> str:
    text = " ".join(said)
    tags = [word for word in dict.fromkeys(bare(text)) if len(word) > 4 and word.isalpha() and word not in COMMON]
    return f"{text} {' '.join('#' + tag for tag in tags[: args['n']])}" if len(tags) >= args["n"] else ""


def _postscript(args: Args, said: Sequence[str], rng: Random) -> str:
    return f"{' '.join(said[:-1][:2])}\n\nP.S. {said[-1]}" if len(said) >= 2 else ""


def _json(args: Args, said: Sequence[str], rng: Random) -> str:
    values = _parts(len(args["keys"]), said)
    return json.dumps(dict(zip(args["keys"], values, strict=True)), ensure_ascii=False) if values else ""


def _table(args: Args, said: Sequence[str], rng: Random) -> str:
    rows = [f"| {i} | {part.replace('|', '/')} |" for i, part in enumerate(_parts(args["n"], said), start=1)]
    return "\n".join(["| No. | Note |", "| --- | --- |", *rows]) if rows else ""


def _comma_list(args: Args, said: Sequence[str], rng: Random) -> str:
    """A list that stands in the answer, as in "bring tea, bread and a blanket"."""
    for sentence in said:
        found = re.search(r"((?:\b[\w' -]{2,30}, ){1,}(?:and |or )?[\w' -]{2,30}\b)", sentence)
        items = re.split(r", (?:and |or )?| and | or ", found.group(1)) if found else []
        items = [item.split(" of ")[-1].strip() for item in items][-args["n"] :]
        if len(items) == args["n"] and all(0 < len(item.split()) <= 4 for item in items):
            return ", ".join(items)
    return ""


def _sections(args: Args, said: Sequence[str], rng: Random) -> str:
    return "\n".join(f"SECTION {i}\n{part}" for i, part in enumerate(_parts(args["n"], said), start=1))


def _labelled(args: Args, said: Sequence[str], rng: Random) -> str:
    parts = _parts(len(args["labels"]), said)
    return "\n".join(f"{label}: {part}" for label, part in zip(args["labels"], parts, strict=False))


FORMS: Mapping[str, Form] = {
    "lowercase": lambda args, said, rng: " ".join(said).lower(),
    "uppercase": lambda args, said, rng: " ".join(said).upper(),
    "starts_with": _started,
    "ends_with": lambda args, said, rng: f"{' '.join(said)} {args['phrase']}",
    "quoted": lambda args, said, rng: '"' + " ".join(said).replace('"', "") + '"',
    "final_question": lambda args, said, rng: f"{' '.join(said)} {rng.choice(CLOSING_QUESTIONS)}",
    "postscript": _postscript,
    "angle_title": _titled,
    "signature": lambda args, said, rng: f"{' '.join(said)}\n\n{args['name']}",
    "sentence_count": _joined(" "),
    "line_count": _joined("\n"),
    "paragraphs": _joined("\n\n"),
    "starred_parts": _joined("\n***\n"),
    "bullets": _rows(lambda i: "- "),
    "numbered": _rows(lambda i: f"{i}. "),
    "lettered": _rows(lambda i: f"{chr(96 + i)}) "),
    "arrows": _joined(" -> "),
    "comma_list": _comma_list,
    "json_object": _json,
    "table": _table,
    "code_block": lambda args, said, rng: f"```\n{' '.join(said)}\n```",
    "tagged": lambda args, said, rng: f"<{args['tag']}>{' '.join(said)}</{args['tag']}>",
    "sections": _sections,
    "labelled": _labelled,
    "verdict": lambda args, said, rng: f"{' '.join(said)}\n{args['label']}: {rng.choice(args['choices'])}",
    "highlights": _marked("*", "*"),
    "placeholders": _marked("[", "]"),
    "shouted_words": _shouted,
    "hashtags": _hashtags,
}
