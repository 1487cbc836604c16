"""A real Orthanc: it takes our objects, gives them back equal, sends to us, and is asked by us."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest

from sarcoscope import analyze
from sarcoscope.dicomnet import web
from sarcoscope.dicomnet.peer import Peer, dicom_files
from sarcoscope.dicomnet.receiver import Receiver
from sarcoscope.dicomnet.spool import Spool
from sarcoscope.errors import NetworkError
from sarcoscope.imaging.reader import read_study
from tests.dicomnet.servers import Orthanc, free_port, make_images, orthanc
from tests.imaging.kinds import series

MOVE_PORT = free_port()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    root = tmp_path_factory.mktemp("orthanc")
    modalities: dict[str, list[object]] = {"us": ["MOVER", "127.0.0.1", MOVE_PORT]}
    with orthanc(root, modalities) as running:
        yield running


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, server: Orthanc) -> Path:
    """A phantom study with its results, stored in Orthanc."""
    root = tmp_path_factory.mktemp("study")
    folder = series(root)
    analyze(folder, assume_level="L3").write(root / "result")
    for path in sorted(folder.glob("*.dcm")):
        server.post("/instances", path.read_bytes())
    return root


@pytest.mark.parametrize("name", ["segmentation.dcm", "measurements_sr.dcm"])
def test_objects_come_back_equal(name: str, study: Path, server: Orthanc, tmp_path: Path) -> None:
    path = study / "result" / name
    assert web.store(server.dicomweb, [path]) == 1
    ours = pydicom.dcmread(path)
    found = web.find_series(server.dicomweb, SeriesInstanceUID=str(ours.SeriesInstanceUID))
    assert len(found) == 1
    assert web.fetch_series(server.dicomweb, found, tmp_path / "back") == 1
    back = pydicom.dcmread(next((tmp_path / "back").glob("*.dcm")))
    for one in (ours, back):
        del one.file_meta
    assert back.to_json_dict() == ours.to_json_dict()


def test_images_come_back_with_their_pixels(study: Path, server: Orthanc, tmp_path: Path) -> None:
    peer = Peer("127.0.0.1", server.dicom, server.title, "GETTER")
    peer.echo()
    found = [s for one in peer.find("STUDY", PatientID="PHANTOM") for s in
             peer.find("SERIES", StudyInstanceUID=str(one.StudyInstanceUID)) if s.Modality == "CT"]  # fmt: skip
    assert peer.fetch(found, tmp_path / "get") == 14
    before, after = read_study(study / "ct").volume, read_study(tmp_path / "get").volume
    assert np.array_equal(before.hu, after.hu)
    mover = Peer("127.0.0.1", server.dicom, server.title, "MOVER")
    assert mover.fetch(found, tmp_path / "move", method="move", port=MOVE_PORT) == 14
    assert np.array_equal(before.hu, read_study(tmp_path / "move").volume.hu)
    again = web.find_series(server.dicomweb, PatientID="PHANTOM", Modality="CT")
    assert web.fetch_series(server.dicomweb, again, tmp_path / "wado") == 14
    assert np.array_equal(before.hu, read_study(tmp_path / "wado").volume.hu)


def test_orthanc_sends_to_the_receiver(server: Orthanc, tmp_path: Path) -> None:
    uids = make_images(tmp_path / "in", 30, "1", study="1.2.8.5")
    ids = [server.post("/instances", p.read_bytes()) for p in (tmp_path / "in").glob("*.dcm")]
    one = Receiver(Spool(tmp_path / "spool"), port=0, address="127.0.0.1")
    where = {"AET": "SARCOSCOPE", "Host": "127.0.0.1", "Port": one.port}
    server_put = json.dumps(where).encode()
    request = urllib.request.Request(f"{server.url}/modalities/receiver", server_put, method="PUT")
    urllib.request.urlopen(request, timeout=20).close()
    stored = [i["ID"] for i in ids if isinstance(i, dict)]
    server.post("/modalities/receiver/store", json.dumps(stored).encode())
    one.close()
    kept = [
        pydicom.dcmread(p, stop_before_pixels=True).SOPInstanceUID
        for p in (tmp_path / "spool").rglob("*.dcm")
    ]
    assert sorted(kept) == sorted(uids)


def test_send_and_pull_commands(study: Path, server: Orthanc, tmp_path: Path) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "sarcoscope.cli.main", *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=58, check=False)

    place = f"{server.title}@127.0.0.1:{server.dicom}"
    sent = run("send", str(study / "result/measurements_sr.dcm"), "--to", place)
    assert (sent.returncode, "1 objects arrived" in sent.stderr) == (0, True)
    pulled = run("pull", "--from", place, "--patient-id", "PHANTOM", "--out", str(tmp_path / "p"))
    assert pulled.returncode == 0, pulled.stderr
    assert len(dicom_files(tmp_path / "p")) == 14
    listed = run("pull", "--dicomweb", server.dicomweb, "--patient-id", "PHANTOM", "--out", "x", "--list")
    assert "Abdomen portal venous" in listed.stdout
    nothing = run("pull", "--from", place, "--patient-id", "NOBODY", "--out", str(tmp_path / "q"))
    assert (nothing.returncode, "No series fits." in nothing.stderr) == (2, True)
    image = pydicom.dcmread(sorted((study / "ct").glob("*.dcm"))[0])
    image.PatientIdentityRemoved = "YES"
    buffer = io.BytesIO()
    image.save_as(buffer, enforce_file_format=True)
    (tmp_path / "d.dcm").write_bytes(buffer.getvalue())
    refused = run("send", str(tmp_path / "d.dcm"), "--to", place)
    assert (refused.returncode, "clinical system" in refused.stderr) == (2, True)
    assert run("send", str(tmp_path / "d.dcm"), "--to", place, "--research").returncode == 0


def test_services_that_do_not_answer(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}/dicom-web"
    begin = time.monotonic()
    with pytest.raises(NetworkError):
        web.find_series(url, PatientID="1")
    make_images(tmp_path / "in", 1, "1")
    with pytest.raises(NetworkError):
        web.store(url, dicom_files(tmp_path / "in"))
    assert time.monotonic() - begin < 60
