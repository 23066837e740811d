"""A provider of language models that fails as it is told to: a real HTTP server on loopback, without a model.

It speaks the wire of OpenAI, Azure OpenAI and Anthropic's OpenAI-compatible endpoint, for tests and benchmarks of
whatever asks a teacher: limits, quotas, suspension, region, slow and broken answers, and a usage endpoint that says
what was billed.

    with simulator(Behaviour(suspend_at=3)) as provider:
        client = openai.OpenAI(base_url=provider.openai, api_key="sk-any", max_retries=0)

One simulator is one account; start another for another maker. What it answers is a function of the question and the
seed (`answers`), what goes wrong is one of both and of how often the question was tried before (`Behaviour.faults`),
and what is billed is said in `book`. Importing it needs the extra `serve`; raises `ConfigError` without.
"""

from trueseed.teachers.simulator.account import Counts
from trueseed.teachers.simulator.behaviour import Behaviour, Fault, Faults
from trueseed.teachers.simulator.running import Simulator, simulator

__all__ = ["Behaviour", "Counts", "Fault", "Faults", "Simulator", "simulator"]
