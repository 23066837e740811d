"""Every bench, one after the other; each writes its file in bench/results.

python -m bench
"""

from bench import ask, decode, gateway, gguf, plan, quickstart, train

if __name__ == "__main__":
    for bench in (decode, train, gguf, plan, ask, gateway, quickstart):
        bench.main()
