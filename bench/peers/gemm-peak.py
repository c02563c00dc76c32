"""The machine's own GEMM peak in float32, as the yardstick for a whole step; prints one line of JSON.

    python bench/peers/gemm-peak.py
    python bench/peers/gemm-peak.py --shape 1024x576x1536 --backend torch

For each shape MxKxN: the best of many products [M, K] x [K, N], in torch and in numpy, in GFLOP/s (2MKN a product).
"""

import argparse
import json
import os
import platform
import re
import time

SHAPES = ["1024x576x1536", "1024x576x49152"]


def parse_shape(text):
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)x([1-9]\d*)", text)
    if not match:
        raise argparse.ArgumentTypeError(f'"{text}" is not a shape like 1024x576x1536')
    return tuple(int(size) for size in match.groups())


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--shape", type=parse_shape, action="append", help=f"MxKxN; default {' and '.join(SHAPES)}")
    parser.add_argument("--backend", choices=["torch", "numpy"], action="append", help="default: both")
    parser.add_argument("--seconds", type=float, default=2.0, help="for each shape and backend (%(default)s)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    return parser.parse_args()


def best_seconds(multiply, budget):
    """The fastest call within `budget` seconds, after one that is not counted; at least three calls."""
    multiply()
    fastest, calls, ends = float("inf"), 0, time.perf_counter() + budget
    while calls < 3 or time.perf_counter() < ends:
        began = time.perf_counter()
        multiply()
        fastest = min(fastest, time.perf_counter() - began)
        calls += 1
    return fastest


def torch_product(m, k, n, threads):
    import torch

    torch.set_num_threads(threads)
    left, right, out = torch.randn(m, k), torch.randn(k, n), torch.empty(m, n)
    return lambda: torch.mm(left, right, out=out)


def numpy_product(m, k, n, threads):
    import numpy

    random = numpy.random.default_rng(0)
    left, right = random.random((m, k), numpy.float32), random.random((k, n), numpy.float32)
    out = numpy.empty((m, n), numpy.float32)
    return lambda: numpy.matmul(left, right, out=out)


BACKENDS = {"torch": torch_product, "numpy": numpy_product}


def versions(names):
    return {name: __import__(name).__version__ for name in names}


def main():
    arguments = parse_arguments()
    # numpy's library reads these when it is first imported
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(arguments.threads)
    backends = arguments.backend or list(BACKENDS)
    results = []
    for m, k, n in arguments.shape or [parse_shape(shape) for shape in SHAPES]:
        result = {"shape": [m, k, n]}
        for backend in backends:
            seconds = best_seconds(BACKENDS[backend](m, k, n, arguments.threads), arguments.seconds)
            result[f"{backend}_gflops"] = 2 * m * k * n / seconds / 1e9
        results.append(result)
    peak = max(value for result in results for key, value in result.items() if key.endswith("_gflops"))
    line = {
        "peer": "gemm-peak",
        "peak_gflops": peak,
        "shapes": results,
        "threads": arguments.threads,
        "versions": {"python": platform.python_version(), **versions(backends)},
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
