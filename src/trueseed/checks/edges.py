"""How an answer begins and ends."""

import re

from trueseed.checks.kind import Kind, nothing, unlike
from trueseed.checks.text import count, lines, sentences, words

OPENINGS = (
    "Good question!", "Sure thing.", "In my view", "Let me think.", "To put it simply", "Here is a thought:",
    "First of all", "Happy to help!", "One thing to know:", "My short answer:", "That is easy.", "Let us see.",
    "As a rule", "Here you go:", "Most of the time", "In a few words:", "The way I see it", "No problem!",
    "If you ask me", "Here is my answer:", "Think of it this way:", "The short version:", "Hello there!",
)  # fmt: skip
ENDINGS = (
    "Hope that helps!", "That is all.", "Have a good day!", "Good luck with it!", "Thanks for asking.", "Enjoy!",
    "And that is that.", "Take care!", "Now you know.", "Let me know how it goes.", "It is worth a try.",
    "Simple as that.", "What do you think?", "Give it a go!", "See you soon!", "Over and out.", "Best of luck!",
    "That is my advice.", "Is there anything else?", "You can do it!", "End of answer.", "Have fun with it!",
)  # fmt: skip
NAMES = ("Ada", "Ben", "Clara", "David", "Emma", "Felix", "Grace", "Henry", "Iris", "Jack", "Kate", "Leo", "Mia",
         "Noah", "Olga", "Paul", "Rosa", "Sam", "Tom", "Vera")  # fmt: skip


def starts_with(answer: str, phrase: str) -> str:
    """The answer begins with the phrase, letter for letter, and has a word after it."""
    if not answer.strip().startswith(phrase):
        return f"it begins with {answer.strip()[: len(phrase)]!r}, and must with {phrase!r}"
    return "" if words(answer.strip()[len(phrase) :]) else f"nothing comes after {phrase!r}"


def ends_with(answer: str, phrase: str) -> str:
    """The answer ends with the phrase, letter for letter, and has a word before it."""
    if not answer.strip().endswith(phrase):
        return f"it ends with {answer.strip()[-len(phrase) :]!r}, and must with {phrase!r}"
    return "" if words(answer.strip()[: -len(phrase)]) else f"nothing comes before {phrase!r}"


def quoted(answer: str) -> str:
    """The whole answer stands between one pair of double quotation marks, straight or curly, with none inside."""
    text = answer.strip()
    if len(text) < 3 or text[0] not in '"“' or text[-1] not in '"”':
        return "it does not both begin and end with a double quotation mark"
    return "there are quotation marks inside it, too" if re.search(r'["“”]', text[1:-1]) else ""


def final_question(answer: str) -> str:
    """The last character is a question mark."""
    return "" if answer.strip().endswith("?") else "it does not end with a question mark"


def opening_question(answer: str) -> str:
    """The first sentence ends in a question mark, and another sentence follows."""
    found = sentences(answer)
    if not found or not found[0].rstrip("\"'”’)]*_").endswith("?"):
        return "its first sentence is not a question"
    return "" if len(found) > 1 else "nothing follows the question"


def _opens_otherwise(beginning: str) -> bool:
    """Its first sentence is whole, and no question."""
    return len(sentences(beginning)) > 1 and bool(opening_question(beginning))


def final_exclamation(answer: str) -> str:
    """The last character is an exclamation mark, and it is the only one."""
    if not answer.strip().endswith("!"):
        return "it does not end with an exclamation mark"
    return "" if answer.count("!") == 1 else f"it has {answer.count('!')} exclamation marks, and must have one"


def postscript(answer: str) -> str:
    """A line begins with "P.S." and has words after that; there are words before it."""
    match = re.search(r"(?m)^\s*P\.\s?S\.(.*)", answer)
    if not match:
        return 'no line begins with "P.S."'
    return "" if words(match[1]) and words(answer[: match.start()]) else 'words are missing before or after "P.S."'


def angle_title(answer: str) -> str:
    """The first line is a title of one to twelve words between << and >>, and words follow below."""
    found = lines(answer)
    match = re.fullmatch(r"<<([^<>]+)>>", found[0]) if found else None
    if not match or not 1 <= len(words(match[1])) <= 12:
        return "its first line is not a title between << and >>"
    return "" if words(" ".join(found[1:])) else "nothing follows the title"


def heading(answer: str) -> str:
    """The first line is a Markdown heading ("# " to "### ") of one to twelve words; words follow, no other heading."""
    found = lines(answer)
    match = re.fullmatch(r"#{1,3} +(.+)", found[0]) if found else None
    if not match or not 1 <= len(words(match[1])) <= 12:
        return 'its first line is not a heading that begins with "# "'
    if not words(" ".join(found[1:])):
        return "nothing follows the heading"
    return "it has more than one heading" if any(re.match(r"#{1,6} ", line) for line in found[1:]) else ""


def signature(answer: str, name: str) -> str:
    """The last line is the name alone, perhaps after a dash, and words stand above it."""
    found = lines(answer)
    if not found or re.sub(r"^[-–—~]+\s*", "", found[-1]).rstrip(".") != name:
        return f"its last line is not {name!r} alone"
    return "" if words(" ".join(found[:-1])) else "nothing stands above the name"


def hashtags(answer: str, n: int) -> str:
    """It ends with exactly n hashtags, there are no others, and three words or more stand before them."""
    match = re.search(r"(?:(?<!\S)#\w+[\s,]*)+$", answer.strip())
    found = len(re.findall(r"#\w", match[0])) if match else 0
    if found != n or len(re.findall(r"(?<!\S)#\w", answer)) != n:
        return f"it ends with {count(found, 'hashtag')}, and must with exactly {n} and have no others"
    before = answer.strip()[: match.start()] if match else ""
    return "" if len(words(before)) >= 3 else "there is next to nothing before the hashtags"


def greeting(answer: str, name: str) -> str:
    """The first sentence or line greets by this name: one of Hi, Hello, Hey, Dear, then the name; words follow it."""
    match = re.match(rf"\s*(hi|hello|hey|dear)(?: there)?,? {name}\b(.*)", answer, re.IGNORECASE | re.DOTALL)
    if not match:
        return f"it does not begin by greeting {name}"
    return "" if words(match[2]) else "nothing follows the greeting"


KINDS = (
    Kind(
        name="starts_with",
        family="opening",
        fault=starts_with,
        doomed=unlike("{phrase}.*"),
        draw=lambda rng: {"phrase": rng.choice(OPENINGS)},
        wordings=(
            'Begin your answer with the exact words "{phrase}" and go on from there.',
            'The words "{phrase}" must come first.',
            'Start with "{phrase}" and then answer.',
            'Open your answer with the words "{phrase}" before anything else.',
        ),
        how="Copy these words first: {phrase} Then go on with the answer itself.",
    ),
    Kind(
        name="ends_with",
        family="ending",
        fault=ends_with,
        draw=lambda rng: {"phrase": rng.choice(ENDINGS)},
        wordings=(
            'End your answer with the exact words "{phrase}" and nothing after them.',
            'The words "{phrase}" must come last.',
            'Finish with "{phrase}" as the last words.',
            'Close your answer with "{phrase}" and write nothing more.',
        ),
        how="Write one or two short sentences. Then copy these words and stop: {phrase}",
    ),
    Kind(
        name="quoted",
        family="whole",
        fault=quoted,
        doomed=unlike('["“][^"“”]*["”]'),
        draw=nothing,
        wordings=(
            "Wrap your whole answer in double quotation marks.",
            "Put the entire answer in double quotes.",
            'Your answer should begin and end with a double quotation mark (").',
            "Enclose everything you write in double quotes.",
        ),
        how='Type " first, then one or two sentences, then " again, and nothing outside.',
    ),
    Kind(
        name="final_question",
        family="ending",
        fault=final_question,
        draw=nothing,
        wordings=(
            "End with a question.",
            "Your answer must end with a question mark.",
            "Finish by asking me something.",
            "Close with a question to me.",
        ),
        how="Write one or two sentences. Then ask one short question, and stop after its question mark.",
    ),
    Kind(
        name="opening_question",
        family="opening",
        fault=opening_question,
        doomed=_opens_otherwise,
        draw=nothing,
        wordings=(
            "Open with a question, then go on.",
            "Your first sentence must be a question.",
            "Begin with a short question before you answer.",
        ),
        how="The first sentence asks something and ends with a question mark. The next sentences answer.",
    ),
    Kind(
        name="final_exclamation",
        family="ending",
        fault=final_exclamation,
        doomed=unlike("[^!]*!"),
        draw=nothing,
        wordings=(
            "End with an exclamation mark, and use no other.",
            "Use exactly one exclamation mark, at the very end.",
            "The last character, and only the last, should be an exclamation mark.",
        ),
        how="Use full stops throughout, but finish the last sentence with an exclamation mark.",
    ),
    Kind(
        name="postscript",
        family="ending",
        fault=postscript,
        draw=nothing,
        wordings=(
            'Add a postscript at the end, starting with "P.S."',
            "At the end, add a line that begins with P.S.",
            'Finish with a postscript on a new line (begin it with "P.S.").',
            "Please close with a P.S.",
        ),
        how="Write one or two sentences. Then, on a new line, write P.S. and one more remark.",
    ),
    Kind(
        name="angle_title",
        family="opening",
        fault=angle_title,
        doomed=unlike("<<[^<>]+>>.*"),
        draw=nothing,
        wordings=(
            "Begin with a title in double angle brackets, like <<My Title>>.",
            "Put a title on the first line, wrapped like <<this>>.",
            "Give your answer a title between << and >> on a line of its own.",
            "The first line must be a title such as <<A Small Guide>>.",
        ),
        how="First line: << then a short title then >>. Second line: the answer.",
    ),
    Kind(
        name="heading",
        family="opening",
        fault=heading,
        doomed=unlike("#{1,3} +.*"),
        draw=nothing,
        wordings=(
            'Start with a Markdown heading (a line that begins with "# ").',
            "Put one heading line, beginning with #, above your answer.",
            'Begin with a heading such as "# Good to know" on its own line.',
        ),
        how="First line: # and a space and a short heading. Second line: the answer, without further headings.",
    ),
    Kind(
        name="signature",
        family="ending",
        fault=signature,
        draw=lambda rng: {"name": rng.choice(NAMES)},
        wordings=(
            'Sign your answer with the name "{name}" alone on the last line.',
            "Put the name {name} on a line of its own at the very end.",
            'The last line should be only the name "{name}".',
        ),
        how="Write one or two sentences. Then, on a new line, write {name} and stop.",
    ),
    Kind(
        name="hashtags",
        family="ending",
        fault=hashtags,
        doomed=lambda beginning, n: len(re.findall(r"(?<!\S)#\w", beginning)) > n,
        draw=lambda rng: {"n": rng.choice((1, 2, 3))},
        say=lambda args: {"n": count(args["n"], "hashtag")},
        wordings=(
            "End with exactly {n}, like #this.",
            "Put {n} at the end of your answer.",
            "Finish with {n} and nothing after.",
        ),
        how="Write one or two sentences, then exactly {n} in a row, each a # with one word.",
    ),
    Kind(
        name="greeting",
        family="opening",
        fault=greeting,
        doomed=unlike("(?i)(?:hi|hello|hey|dear)(?: there)?,? {name}.*"),
        draw=lambda rng: {"name": rng.choice(NAMES)},
        wordings=(
            'Begin by greeting me: my name is {name}, so start with "Hi {name}".',
            'Start with "Hello {name}" and then answer.',
            "Greet {name} by name in your first words.",
        ),
        how="Write Hello {name}, and then one or two sentences.",
    ),
)
