"""Every bench, one after the other; each writes its file in bench/results.

python -m bench
"""

from bench import arena, ask, decode, eight_bits, gateway, gguf, ledger, plan, quickstart, recall, score, terms, train

if __name__ == "__main__":
    for bench in (ledger, terms, arena, decode, eight_bits, score, train, gguf, plan, recall, ask, gateway, quickstart):
        bench.main()
