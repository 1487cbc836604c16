"""Speed of DICOM in and out: ``python -m benchmarks.dicom``. Prints a table; nothing is asserted."""

from __future__ import annotations

import tempfile
import time
import warnings
from pathlib import Path

import pydicom
from tests.dicomnet.servers import start_receiver, storescu

from sarcoscope.deid.engine import Engine
from sarcoscope.deid.folder import deidentify_folder
from sarcoscope.deid.mapping import FileMapping, Identity
from sarcoscope.deid.pixel_text import find_text
from sarcoscope.deid.profile import Profile
from sarcoscope.exports.dicom_objects import study_objects
from sarcoscope.samples.dicom_series import SeriesSettings, write_dicom_series
from sarcoscope.samples.phantom import PhantomSettings, make_phantom
from sarcoscope.study import analyze


def main() -> None:
    """Measure and print."""
    rows: list[tuple[str, str]] = []
    with tempfile.TemporaryDirectory() as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        root = Path(temporary)
        phantom = make_phantom(
            PhantomSettings(seed=3, matrix=512, pixel_mm=0.8, slice_spacing_mm=2.5, noise_hu=14.0)
        )
        write_dicom_series(phantom, root / "ct", SeriesSettings())
        files = sorted((root / "ct").glob("*.dcm"))
        one = pydicom.dcmread(files[0])
        rows.append(("images (512 x 512, uncompressed)", str(len(files))))
        with FileMapping(root / "a.sqlite") as mapping, mapping.transaction():
            engine, person = Engine(Profile(), mapping), mapping.person(Identity("c", "1"))
            begin = time.perf_counter()
            for _ in range(100):
                engine.deidentify(one, person)
            rows.append(("engine, one header", f"{(time.perf_counter() - begin) * 10:.1f} ms"))
        begin = time.perf_counter()
        for hu in phantom.hu[:50]:
            find_text(hu, sensitive=True)
        rows.append(("letters looked for, one picture", f"{(time.perf_counter() - begin) * 20:.1f} ms"))
        with FileMapping(root / "b.sqlite") as mapping:
            begin = time.perf_counter()
            deidentify_folder(root / "ct", root / "out", mapping)
            took = time.perf_counter() - begin
        rows.append(("folder, everything (read, look, write)", f"{len(files) / took:.0f} images a second"))
        result = analyze(root / "ct")
        begin = time.perf_counter()
        study_objects(result.record, result.images, result.mask)
        rows.append(("SEG and SR of a level", f"{time.perf_counter() - begin:.2f} s"))
        _receive(root, files, rows)
    for what, figure in rows:
        print(f"{what:<42}{figure:>24}")


def _receive(root: Path, files: list[Path], rows: list[tuple[str, str]]) -> None:
    """The series over eight associations, under eight sets of UIDs."""
    for k in range(8):
        folder = root / f"in{k}"
        folder.mkdir()
        for n, path in enumerate(files):
            image = pydicom.dcmread(path)
            image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = f"1.2.6.{k}.{n}"
            image.SeriesInstanceUID = f"1.2.6.{k}"
            image.save_as(folder / f"{n}.dcm")
    running = start_receiver(root / "rx", "--quiet-time", "600")
    begin = time.perf_counter()
    senders = [storescu(running.port, root / f"in{k}") for k in range(8)]
    for sender in senders:
        sender.wait()
    took = time.perf_counter() - begin
    running.stop()
    count = 8 * len(files)
    rows.append((f"receiver, {count} images, 8 associations", f"{count / took:.0f} images a second"))


if __name__ == "__main__":
    main()
