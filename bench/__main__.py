"""Every bench, one after the other; each writes its file in bench/results.

python -m bench
"""

from bench import (
    arena,
    ask,
    decode,
    distil,
    eight_bits,
    gateway,
    gguf,
    ledger,
    plan,
    quickstart,
    recall,
    score,
    terms,
    train,
)

if __name__ == "__main__":
    for bench in (
        ledger,
        terms,
        arena,
        decode,
        eight_bits,
        score,
        train,
        distil,
        gguf,
        plan,
        recall,
        ask,
        gateway,
        quickstart,
    ):
        bench.main()
