"""Long checks in full: ``python -m tests.soak [--count N]``; the test suite runs a fixed-seed sample of them."""

from __future__ import annotations

import argparse
import time

from tests.imaging.fuzz import fuzz


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000, help="mutated files")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    begin, outcomes = time.monotonic(), {"read": 0, "refused": 0}
    for first in range(0, arguments.count, 1000):
        part = fuzz(min(1000, arguments.count - first), seed=arguments.seed + first)
        outcomes = {name: outcomes[name] + part[name] for name in outcomes}
        print(f"{first + sum(part.values())} files, {outcomes}, {time.monotonic() - begin:.0f} s", flush=True)


if __name__ == "__main__":
    main()
