"""Every bench, one after the other; each writes its file in bench/results.

python -m bench
"""

from bench import ask, decode, gateway, plan, quickstart, terms, train

if __name__ == "__main__":
    for bench in (decode, train, plan, terms, ask, gateway, quickstart):
        bench.main()
