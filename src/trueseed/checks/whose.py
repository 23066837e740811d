"""Whose words does an answer say it is? Names of models and makers, and sentences in which a model speaks of itself.

>>> introduces("As an AI language model trained by OpenAI, I cannot cook.")
Introduction(maker='openai', words='trained by OpenAI')
>>> makers("mistralai/Mixtral-8x7B-Instruct-v0.1")
frozenset({'mistral'})
"""

import re
from typing import NamedTuple

_NAMES = {
    "openai": r"open ?ai|chat ?gpt|gpt-?[2345]\w*|gpt-oss\w*|o[134]-(?:mini|preview|pro)|text-davinci\w*|davinci-\d+",
    "anthropic": r"anthropic|claude",
    "google": r"gemma|gemini|google (?:ai|deepmind)|bard",
    "meta": r"llama[ -]?\d?|meta ai",
    "mistral": r"mistral(?: ?ai)?|mixtral|ministral|codestral",
    "deepseek": r"deep ?seek",
    "qwen": r"qwen|tongyi|alibaba cloud",
    "huggingfacetb": r"smol ?lm|hugging ?face(?:tb)?",
    "microsoft": r"copilot|phi-\d",
    "xai": r"grok",
    "cohere": r"cohere|command-r",
    "zhipu": r"chatglm|glm-\d|zhipu",
}
_OF_MAKER = {maker: re.compile(rf"(?<![a-z0-9])(?:{names})", re.IGNORECASE) for maker, names in _NAMES.items()}
_ANY = "|".join(_NAMES.values())
_NAME = re.compile(rf"\b(?:{_ANY})\b", re.IGNORECASE)
NAMED = re.compile(
    r"\b(smol ?lm\w*|hugging ?face|open ?ai|chat ?gpt|gpt-?[2345]\w*|anthropic|claude|deepseek|mistral( ai)?"
    r"|mixtral|qwen|alibaba cloud|llama[ -]?\d?|meta ai|gemma|gemini|google (ai|deepmind)|bard|copilot)\b",
    re.IGNORECASE,
)
_SPEAKS_OF_MODELS = re.compile(  # what tells a chatbot from people and animals of the same name
    r"\b(i am|i['’]m|my name is|call me|trained by|developed by|created by|made by|built by|language model|ai model"
    r"|ai assistant|chatbot)\b",
    re.IGNORECASE,
)
_AN_AI = r"(?:ai|artificial intelligence|large language model|language model|llm|chat ?bot|virtual assistant)"
_MADE_BY = re.compile(
    rf"\b(?:trained|developed|created|made|built|designed)\s+by\s+(?:the\s+)?(?:\w+\s+){{0,2}}?(?:{_ANY})\b",
    re.IGNORECASE,
)
_I_AM_NAMED = re.compile(
    rf"\b(?:i am|i['’]m|my name is|call me)\s+(?:an?\s+|the\s+|called\s+|named\s+)?(?:{_ANY})\b", re.IGNORECASE
)
_I_AM_AN_AI = re.compile(rf"\b(?:as|i am|i['’]m)\s+(?:just\s+|only\s+)?(?:an?|your)\s+{_AN_AI}\b", re.IGNORECASE)
_FIRST_PERSON = re.compile(r"\b(?:i|i['’]m|my|me)\b", re.IGNORECASE)
_A_MODEL = re.compile(rf"\b{_AN_AI}\b|\bmodel\b|\bassistant\b", re.IGNORECASE)
_SENTENCE = re.compile(r"[^.!?\n]+(?:[.!?](?=\S)[^.!?\n]*)*")


class Introduction(NamedTuple):
    """How a model speaks of itself. maker: '' when it does not say whose it is."""

    maker: str
    words: str


def names_its_maker(answer: str) -> str:
    """The name of a model or a maker that an answer gives away, or nothing."""
    name = NAMED.search(answer)
    return name[0] if name and _SPEAKS_OF_MODELS.search(answer) else ""


def makers(text: str) -> frozenset[str]:
    """The makers that a text names, themselves or by their models."""
    return frozenset(maker for maker, names in _OF_MAKER.items() if names.search(text))


def introduces(answer: str) -> Introduction | None:
    """Where a model says of itself that it is one; the first that names its maker, if there is such."""
    unnamed = None
    for sentence in _SENTENCE.findall(answer):
        if not _FIRST_PERSON.search(sentence) and not _I_AM_AN_AI.search(sentence):
            continue
        of_a_model = _A_MODEL.search(_NAME.sub(" ", sentence)) or _I_AM_NAMED.search(sentence)
        said = _MADE_BY.search(sentence) if of_a_model else None
        said = said or (_I_AM_NAMED.search(sentence) if _A_MODEL.search(answer) or _MADE_BY.search(answer) else None)
        if said and (named := makers(said[0])):
            return Introduction(min(named), said[0])
        if unnamed is None and (found := _I_AM_AN_AI.search(sentence)):
            unnamed = Introduction("", found[0])
    return unnamed
