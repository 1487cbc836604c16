"""Each kind of input does what docs/inputs.md says."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from sarcoscope.errors import InputError
from sarcoscope.imaging import read_study
from tests.imaging.kinds import KINDS, Kind, series, small_phantom

DOCUMENT = Path(__file__).parents[2] / "docs" / "inputs.md"


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.name)
def test_kind(kind: Kind, tmp_path: Path) -> None:
    source = kind.make(tmp_path)
    if kind.error:
        with pytest.raises(InputError, match=re.escape(kind.error)):
            read_study(source)
        return
    study = read_study(source)
    assert {f.code for f in study.flags} >= set(kind.flags)
    assert sorted({r.reason for r in study.refused}) == sorted(set(kind.refused))
    if kind.slices is not None:
        assert study.volume.n_slices == kind.slices
    if kind.same_hu:
        phantom = small_phantom()
        np.testing.assert_array_equal(study.volume.hu, phantom.hu)
        np.testing.assert_allclose(
            study.volume.geometry.slice_positions_mm, phantom.geometry.slice_positions_mm, atol=1e-3
        )
        np.testing.assert_allclose(study.volume.geometry.spacing_mm, phantom.geometry.spacing_mm, rtol=1e-5)


def test_document_names_every_kind() -> None:
    rows = re.findall(r"^\| `([a-z0-9-]+)` \|", DOCUMENT.read_text(encoding="utf-8"), re.M)
    assert sorted(rows) == sorted(k.name for k in KINDS)
    assert len(rows) >= 40


@pytest.mark.parametrize("option", ["+e1", "+el"])
def test_jpeg_lossless_keeps_every_value(option: str, tmp_path: Path) -> None:
    """dcmtk compresses; damaged streams, on which gdcm ends its process, are damaged slices and no more."""
    program = shutil.which("dcmcjpeg")
    assert program, "dcmtk is not installed: run 'make tools'"
    folder = series(tmp_path)
    before = read_study(folder).volume.hu
    (tmp_path / "jpeg").mkdir()
    for path in sorted(folder.glob("*.dcm")):
        done = subprocess.run([program, option, path, tmp_path / "jpeg" / path.name], check=False)
        assert done.returncode == 0
    assert np.array_equal(read_study(tmp_path / "jpeg").volume.hu, before)
    victim = sorted((tmp_path / "jpeg").glob("*.dcm"))[5]
    content = victim.read_bytes()
    start = content.index(b"\xff\xd8\xff")
    for n in range(3, 40, 7):
        victim.write_bytes(content[: start + 20 + n] + bytes(25) + content[start + 45 + n :])
        found = read_study(tmp_path / "jpeg")
        assert found.volume.n_slices in (13, 14)
