"""Every bench, one after the other; each writes its file in bench/results.

python -m bench
"""

from bench import (
    arena,
    arrival,
    ask,
    decode,
    distil,
    eight_bits,
    evaluate,
    gateway,
    gguf,
    layers,
    ledger,
    memory,
    plan,
    quickstart,
    ranks,
    recall,
    rounding,
    score,
    tasks,
    terms,
    train,
)

EVERY = (
    ledger,
    terms,
    arena,
    decode,
    arrival,
    memory,
    eight_bits,
    layers,
    score,
    evaluate,
    tasks,
    train,
    rounding,
    ranks,
    distil,
    gguf,
    plan,
    recall,
    ask,
    gateway,
    quickstart,
)

if __name__ == "__main__":
    for bench in EVERY:
        bench.main()
