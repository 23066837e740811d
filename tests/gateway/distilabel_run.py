"""Run by distilabel's own python: a pipeline as its documentation shows one. Arguments: base URL, key, model, use.

Prints what was generated as JSON, or the error that the gateway gave.
"""

import json
import sys

import openai
from distilabel.models import OpenAILLM
from distilabel.pipeline import Pipeline
from distilabel.steps import LoadDataFromDicts
from distilabel.steps.tasks import TextGeneration

QUESTIONS = ["How is soup kept warm?", "Why do boats float?", "What does a heron eat?"]


def main(base_url: str, key: str, model: str, use: str) -> None:
    llm = OpenAILLM(
        model=model,
        base_url=base_url,
        api_key=key,
        max_retries=0,
        default_headers={"X-TrueSeed-Use": use} if use else None,
        generation_kwargs={"max_new_tokens": 64},
    )
    if use:  # a pipeline only warns of an error; the model itself raises it
        llm.load()
        try:
            llm.generate_outputs([[{"role": "user", "content": QUESTIONS[0]}]])
        except openai.APIStatusError as err:
            print(json.dumps({"status": err.status_code, "code": err.code, "message": err.message}))
        return
    with Pipeline(name="through-the-gateway") as pipeline:
        asked = LoadDataFromDicts(data=[{"instruction": question} for question in QUESTIONS])
        asked >> TextGeneration(llm=llm)
    rows = pipeline.run(use_cache=False)["default"]["train"]
    print(json.dumps([row["generation"] for row in rows]))


if __name__ == "__main__":
    main(*sys.argv[1:])
