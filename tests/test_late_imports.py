"""A command imports what it uses: who asks a question of the terms, or misspells a key, does not wait for torch."""

import json
import subprocess
import sys

from tests.tiny_run import run_file

HEAVY = {"torch", "scipy", "transformers", "datasketch", "pandas", "peft", "safetensors", "spacy", "openai"}
SERVERS = {"uvicorn", "starlette", "fastapi"}

PROGRAM = """
import contextlib, io, json, sys
from trueseed.cli import main

def run(words):
    sys.argv = ["trueseed", *words]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            main()
        except SystemExit as ended:
            code = ended.code
    return [code or 0, sorted({name.partition(".")[0] for name in sys.modules})]

sys.stdout.write(json.dumps([run(words) for words in json.loads(sys.argv[1])]))
"""


def test_commands_that_compute_nothing_import_nothing_that_computes(tmp_path):
    work, misspelt = str(tmp_path / "work"), tmp_path / "misspelt"
    misspelt.mkdir()
    bad, good = run_file(misspelt, tmp_path, generat={}), run_file(tmp_path, tmp_path / "nowhere")
    commands = {  # with the exit code, so that each is known to have done its work
        ("--help",): 0,
        ("run", "--help"): 0,
        ("may", "train", "openai/gpt-4@api"): 3,
        ("terms", "list"): 0,
        ("terms", "check"): 0,
        ("run", str(bad), "-w", work): 2,
        ("run", str(good), "-w", work): 2,
        ("plan", str(bad), "-w", work): 2,
        ("doctor", str(good), "-w", work): 2,
        ("verify", work): 0,
        ("usage", "--maker", "openai", "--month", "2026-10"): 0,
        ("keys", "list"): 0,
        ("signing", "show", "-w", work): 0,
        ("records", "list", "-w", work): 0,
        ("cache", "show", "-w", work): 0,
        ("case", "list", "-w", work): 0,
        ("recall", "openai/gpt-4@api", "-w", work): 2,
        ("papers", "-w", work): 2,
    }
    asked = json.dumps([list(words) for words in commands])
    done = subprocess.run([sys.executable, "-c", PROGRAM, asked], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for (words, code), (ended, imported) in zip(commands.items(), json.loads(done.stdout), strict=True):
        assert (words, ended) == (words, code)
        assert (words, (HEAVY | SERVERS) & set(imported)) == (words, set())
