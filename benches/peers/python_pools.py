"""Python's pools as peers in the benches: answers requests line by line.

A request is a line of words, for example "fan_out processes 20000"; the answer is "figures A B ..." or "error WHY".
Two workers per pool; a pool is made at its first use and stays.
"""

import importlib
import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

WORKERS = 2
RECORD = {key: "x" * 40 for key in ("name", "street", "city", "country", "note")}


def same(value):
    return value


def median_and_p99(times):
    times.sort()
    return [times[len(times) // 2], times[len(times) * 99 // 100]]


class Executor:
    """Anything with `submit(f, x)` that gives a future."""

    def __init__(self, executor):
        self.executor = executor

    def all_of(self, values):
        return [future.result() for future in [self.executor.submit(same, value) for value in values]]

    def one(self, value):
        return self.executor.submit(same, value).result()

    def close(self):
        self.executor.shutdown()


class Pebble(Executor):
    def all_of(self, values):
        return [future.result() for future in [self.executor.schedule(same, (value,)) for value in values]]

    def one(self, value):
        return self.executor.schedule(same, (value,)).result()

    def close(self):
        self.executor.stop()
        self.executor.join()


class Multiprocessing:
    def __init__(self):
        self.pool = multiprocessing.get_context("fork").Pool(WORKERS)

    def all_of(self, values):
        return list(self.pool.imap_unordered(same, values))

    def one(self, value):
        return self.pool.apply(same, (value,))

    def close(self):
        self.pool.terminate()


class Mpire:
    def __init__(self, module):
        self.pool = module.WorkerPool(WORKERS, start_method="fork", keep_alive=True)

    def all_of(self, values):
        return list(self.pool.imap_unordered(same, [(value,) for value in values], chunk_size=1))

    def one(self, value):
        return self.pool.apply(same, (value,))

    def close(self):
        self.pool.terminate()


def fork():
    return multiprocessing.get_context("fork")


MAKERS = {
    "threads": lambda: Executor(ThreadPoolExecutor(WORKERS)),
    "processes": lambda: Executor(ProcessPoolExecutor(WORKERS, mp_context=fork())),
    "multiprocessing": Multiprocessing,
    "loky": lambda: Executor(importlib.import_module("loky").ProcessPoolExecutor(WORKERS)),
    "pebble": lambda: Pebble(importlib.import_module("pebble").ProcessPool(WORKERS, context=fork())),
    "mpire": lambda: Mpire(importlib.import_module("mpire")),
}
POOLS = {}


def pool(name):
    if name not in POOLS:
        POOLS[name] = MAKERS[name]()
        POOLS[name].all_of(list(range(100)))
    return POOLS[name]


def fan_out(name, jobs, values="numbers"):
    chosen, jobs = pool(name), int(jobs)
    values = [RECORD] * jobs if values == "records" else list(range(jobs))
    begun = time.perf_counter()
    assert len(chosen.all_of(values)) == jobs
    return [jobs / (time.perf_counter() - begun)]


def round_trip(name, times):
    chosen, all_times = pool(name), []
    for number in range(int(times)):
        begun = time.perf_counter()
        chosen.one(number)
        all_times.append(time.perf_counter() - begun)
    return median_and_p99(all_times)


def map_chunks(name, jobs, chunk):
    executor, jobs = pool(name).executor, int(jobs)
    begun = time.perf_counter()
    assert sum(1 for _ in executor.map(same, range(jobs), chunksize=int(chunk))) == jobs
    return [jobs / (time.perf_counter() - begun)]


def payload(name, size):
    executor, data = pool(name).executor, bytes(int(size))
    begun = time.perf_counter()
    assert executor.submit(len, data).result() == len(data)
    return [time.perf_counter() - begun]


def start(method, times):
    """A pool started, its first result, and the end of it: the median of several."""
    lives = []
    for _ in range(int(times)):
        begun = time.perf_counter()
        with ProcessPoolExecutor(WORKERS, mp_context=multiprocessing.get_context(method)) as executor:
            assert executor.submit(same, 1).result() == 1
        lives.append(time.perf_counter() - begun)
    return median_and_p99(lives)[:1]


REQUESTS = {
    "fan_out": fan_out,
    "round_trip": round_trip,
    "map": map_chunks,
    "payload": payload,
    "start": start,
}


def main():
    answers = sys.stdout
    sys.stdout = sys.stderr  # what a library prints is no answer
    for line in sys.stdin:
        request, *words = line.split()
        try:
            figures = " ".join(repr(figure) for figure in REQUESTS[request](*words))
            answer = f"figures {figures}"
        except Exception as error:
            answer = f"error {type(error).__name__}: {error}".replace("\n", " ")
        answers.write(answer + "\n")
        answers.flush()
    for used in POOLS.values():
        used.close()


if __name__ == "__main__":
    main()
