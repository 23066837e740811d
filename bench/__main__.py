"""Every bench, one after the other; each writes its file in bench/results.

python -m bench
"""

from bench import ask, decode, gateway, quickstart, train

if __name__ == "__main__":
    for bench in (decode, train, ask, gateway, quickstart):
        bench.main()
