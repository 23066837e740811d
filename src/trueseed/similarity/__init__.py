"""Is it the same? Fingerprints for equal texts, MinHash for nearly equal ones, shared runs of words for copied ones.

    fingerprint   what is left of a text when case, punctuation and spacing do not count, and its hash
    near          an index that finds near-duplicates
    overlap       an index that finds runs of words taken from a set of texts
    remembered    answers that passed by, known again when a file brings them back

>>> fingerprint("Hello,  World!") == fingerprint("hello world")
True
"""

from trueseed.similarity.fingerprint import bare, fingerprint, normalise, shingles
from trueseed.similarity.near import NearIndex
from trueseed.similarity.overlap import OverlapIndex

__all__ = ["NearIndex", "OverlapIndex", "bare", "fingerprint", "normalise", "shingles"]
