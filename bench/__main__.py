"""Every bench, one after the other; each writes its file in bench/results.

python -m bench
"""

from bench import arena, ask, decode, gateway, gguf, ledger, plan, quickstart, recall, terms, train

if __name__ == "__main__":
    for bench in (ledger, terms, arena, decode, train, gguf, plan, recall, ask, gateway, quickstart):
        bench.main()
