"""Speed of the networks: ``python -m benchmarks.models``; ratios of the runtimes are of one run."""

from __future__ import annotations

import time
from functools import partial

import numpy as np

from sarcoscope.levels import find_levels
from sarcoscope.models.package import shipped_package
from sarcoscope.models.registry import shipped_folder
from sarcoscope.models.runtime import RUNTIMES, open_network, runtime_name
from sarcoscope.samples.phantom import PhantomSettings, make_phantom
from sarcoscope.tissues import segment_slices

INPUTS = {
    "spine-canal": ("image", (24, 6, 64, 96)),
    "level-chain": ("strips", (1, 12, 300, 48)),
    "tissue-compartments": ("image", (1, 3, 160, 240)),
}
REPEATS = 5


def least(call) -> float:  # type: ignore[no-untyped-def]
    """Least seconds of some calls."""
    seconds = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - begin)
    return min(seconds)


def main() -> None:
    """Print both tables."""
    print(
        f"{'network':<22}"
        + "".join(f"{r + ' ms':>16}" for r in RUNTIMES)
        + f"{'ratio':>8}{'most differing':>16}"
    )
    rng = np.random.default_rng(1)
    for name, (key, shape) in INPUTS.items():
        inputs = {key: rng.normal(0, 0.5, shape).astype(np.float32)}
        networks = [open_network(shipped_folder() / name / "model.onnx", r) for r in RUNTIMES]
        a, b = (n(inputs)[0] for n in networks)
        times = [least(partial(n, inputs)) for n in networks]
        shown = "".join(f"{1000 * t:>16.0f}" for t in times)
        print(f"{name:<22}{shown}{times[1] / times[0]:>8.2f}{np.abs(a - b).max():>16.1e}")
    phantom = make_phantom(
        PhantomSettings(seed=7, top_level="T1", slice_spacing_mm=1.25, slice_thickness_mm=1.25)
    )
    volume = phantom.volume()
    for name in INPUTS:
        shipped_package(name).check_network()
    begin = time.perf_counter()
    find_levels(volume)
    print(f"\nruntime {runtime_name()}, {volume.n_slices} slices of 512 x 512, networks loaded")
    print(f"levels of the volume   {time.perf_counter() - begin:6.2f} s  (bar 6 s for 500 slices)")
    one = least(partial(segment_slices, volume, [volume.n_slices // 2]))
    print(f"tissues of one slice   {1000 * one:6.0f} ms (bar 150 ms)")


if __name__ == "__main__":
    main()
