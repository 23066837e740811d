"""Does a function that a model wrote pass its tests? Executed in the sandbox, as HumanEval asks (arXiv:2107.03374).

fault(Problem(prompt="def add(a, b):\\n", tests="def check(f):\\n    assert f(1, 2) == 3", entry="add"), answer)
"""

import re
import secrets
from dataclasses import dataclass
from math import comb

from trueseed.checks.sandbox import Ended, Limits, python, run

# Processor time decides, which a busy machine does not change; the other is for those that sleep.
LIMITS = Limits(cpu_s=5, wall_s=60.0, memory=512 << 20, processes=2)
_FENCE = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)(?:```|\Z)", re.DOTALL | re.IGNORECASE)
_NEXT = re.compile(r"\n(?=class |def |#|if |print\()")  # where a bare continuation goes on to something else


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """prompt: what the function begins with, imports included. tests: source that defines `check(candidate)`. entry:
    name of the function.
    """

    prompt: str
    tests: str
    entry: str


def solution(problem: Problem, answer: str) -> str:
    """Source of the function: of a fenced block, or of the answer when it has none, as the whole function or as what
    comes after the prompt.
    """
    fenced = [block for block in _FENCE.findall(answer) if block.strip()]
    whole = rf"^def\s+{re.escape(problem.entry)}\b"
    code = next((block for block in fenced if re.search(whole, block, re.MULTILINE)), fenced[0] if fenced else answer)
    if re.search(whole, code, re.MULTILINE):
        begins = re.search(whole, problem.prompt, re.MULTILINE)  # what stands before it, it may use
        return f"{problem.prompt[: begins.start() if begins else 0]}\n{code}"
    return problem.prompt + (code if fenced else _NEXT.split(code)[0])


def fault(problem: Problem, answer: str, limits: Limits = LIMITS) -> str:
    """Empty when the tests pass, else what went wrong. Raises `ConfigError` where nothing can be executed safely.

    A program passes when it comes to its own last line, which says a word that is drawn anew each time: leaving early
    with exit code 0 is no pass.
    """
    word = secrets.token_hex(8)
    ending = f"check({problem.entry})\nimport os as _os\n_os.write(1, b'\\n{word}')\n"
    ended = run(python(f"{solution(problem, answer)}\n\n{problem.tests}\n\n{ending}"), limits)
    if ended.well and ended.output.endswith(word.encode()):
        return ""
    return _told(ended)


def pass_at_k(n: int, right: int, k: int) -> float:
    """The chance that one of k answers drawn from n, of which `right` are right, is: 1 − C(n−c, k) / C(n, k), the
    unbiased estimator of Chen et al. 2021 (arXiv:2107.03374), section 2.1. Raises `ValueError` for k > n.
    """
    if not 0 <= right <= n or not 1 <= k <= n:
        raise ValueError(f"{k} of {n} answers, {right} of them right, cannot be drawn")
    return 1.0 - comb(n - right, k) / comb(n, k)


def _told(ended: Ended) -> str:
    if ended.how == "exit" and ended.code == 0:
        return "it ended before its tests did"
    if ended.how == "exit":
        lines = ended.errors.decode(errors="replace").strip().splitlines()
        return lines[-1][:200] if lines else f"it ended with exit code {ended.code}"
    if ended.how == "signal":
        return f"it was ended by signal {ended.code}"
    return {"time": "it took too long", "cpu": "it computed for too long", "output": "it wrote too much"}[ended.how]
