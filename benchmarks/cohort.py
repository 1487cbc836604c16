"""Speed and memory of cohorts: ``python -m benchmarks.cohort``. Prints a table; nothing is asserted."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CASES = (
    ("P0's study: all tables and figures", ("--like", "p0")),
    ("a large centre", ("--n", "88000")),
)


def main() -> None:
    """Measure and print."""
    print("| study | studies | sample | run | most memory |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as temporary:
        for k, (name, options) in enumerate(CASES):
            folder = Path(temporary) / str(k)
            made = _timed("sample", "cohort", *options, "--out", str(folder))
            with (folder / "results.csv").open(encoding="utf-8") as lines:
                studies = sum(1 for _ in lines) - 1
            took = _timed("cohort", "run", str(folder / "cohort.toml"), "--out", str(folder / "out"), "-q")
            # The largest child so far: cases are in the order of their size.
            most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
            print(f"| {name} | {studies} | {made} | {took} | {most:.0f} MB |", flush=True)


def _timed(*arguments: str) -> str:
    before, cpu = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "sarcoscope.cli.main", *arguments]
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - cpu.ru_utime - cpu.ru_stime
    return f"{time.perf_counter() - before:.1f} s ({used:.1f} s of CPU)"


if __name__ == "__main__":
    main()
