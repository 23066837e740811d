"""lm-evaluation-harness's copy of the published IFEval checker, alone: rows in, strict and loose verdicts out, as JSON.

Its modules are imported without the package around them, which takes torch and many seconds.
"""

import importlib.util
import json
import sys
import types
from pathlib import Path

import langdetect


def published() -> types.ModuleType:
    root = Path(next(iter(importlib.util.find_spec("lm_eval").submodule_search_locations)))
    for name, folder in (("lm_eval", root), ("lm_eval.tasks", root / "tasks")):
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__path__ = [str(folder)]
    return importlib.import_module("lm_eval.tasks.ifeval.utils")


if __name__ == "__main__":
    checker = published()
    langdetect.DetectorFactory.seed = 0  # as ours: unseeded it says of a short text now this and now that
    found = []
    for name, args, answer in json.load(sys.stdin):
        asked = checker.InputExample(key=0, instruction_id_list=[name], prompt="", kwargs=[args])
        strict = checker.test_instruction_following_strict(asked, answer).follow_all_instructions
        found.append((strict, checker.test_instruction_following_loose(asked, answer).follow_all_instructions))
    json.dump(found, sys.stdout)
