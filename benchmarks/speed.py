"""Speed and memory of the whole job: ``python -m benchmarks.speed``.

Writes a phantom of 300 slices of 512 x 512 as a DICOM folder, analyses it in a fresh process to all outputs,
and prints the seconds of every stage and the peak memory. The bar: under 30 s and under 2 GB on two cores.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sarcoscope.samples.dicom_series import write_dicom_series
from sarcoscope.samples.phantom import PhantomSettings, make_phantom


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory(prefix="sarcoscope-") as temporary:
        folder = Path(temporary)
        phantom = make_phantom(
            PhantomSettings(seed=7, top_level="T2", slice_spacing_mm=1.9, slice_thickness_mm=1.9)
        )
        write_dicom_series(phantom, folder / "ct")
        command = [sys.executable, "-m", "sarcoscope.cli.main", "analyze", str(folder / "ct")]
        command += ["--out", str(folder / "out"), "--height", "172", "--weight", "70", "--quiet"]
        begin = time.monotonic()
        subprocess.run(command, check=True)
        total = time.monotonic() - begin
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024**2
        run = json.loads((folder / "out" / "result.json").read_text(encoding="utf-8"))
        seconds = run["run"]["seconds"]
        print(f"slices {run['series']['n_slices']}, matrix 512 x 512")
        print(f"{'stage':<12}{'seconds':>8}")
        for stage, value in seconds.items():
            print(f"{stage:<12}{value:>8.1f}")
        print(f"{'whole job':<12}{total:>8.1f}   (with start of the program and writing; bar 30)")
        print(f"{'peak memory':<12}{peak:>8.2f} GB (bar 2)")


if __name__ == "__main__":
    main()
