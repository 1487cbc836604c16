"""Servers that the tests start themselves: our receiver as a program, and a real Orthanc."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pydicom

from sarcoscope.samples.dicom_series import SeriesSettings, write_dicom_series
from tests.imaging.kinds import small_phantom


def program(name: str) -> str:
    """Path of a Debian program that the tests need."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/bin")
    assert found, f"{name} is not installed: run 'make tools'"
    return found


def free_port() -> int:
    """A TCP port that nobody uses."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@dataclass
class Program:
    """A running ``sarcoscope receive``."""

    process: subprocess.Popen[str]
    port: int
    root: Path

    def kill(self) -> None:
        """SIGKILL: no time to tidy up."""
        self.process.kill()
        self.process.wait(30)

    def stop(self) -> int:
        """Ask it to stop; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


def start_receiver(root: Path, *options: str, port: int = 0) -> Program:
    """Start the command and wait until it listens."""
    root.mkdir(exist_ok=True)
    port = port or free_port()
    (root / "log").touch()
    before = (root / "log").stat().st_size
    command = [sys.executable, "-m", "sarcoscope.cli.main", "receive", "--spool", str(root / "spool")]
    command += ["--port", str(port)]
    if "--into-store" not in options:
        command += ["--out", str(root / "out"), "--mapping", str(root / "map.sqlite")]
    with (root / "log").open("a", encoding="utf-8") as log:
        process = subprocess.Popen([*command, *options], stdout=log, stderr=log, text=True)
    for _ in range(300):
        if "listens" in (root / "log").read_text(encoding="utf-8")[before:]:
            return Program(process, port, root)
        assert process.poll() is None, (root / "log").read_text(encoding="utf-8")
        time.sleep(0.1)
    raise AssertionError("the receiver did not start")


def storescu(
    port: int, folder: Path, *, title: str = "SENDER", called: str = "SARCOSCOPE"
) -> subprocess.Popen[str]:
    """dcmtk sends a folder."""
    command = [program("storescu"), "-aet", title, "-aec", called, "localhost", str(port), "+sd", str(folder)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True)


def make_images(folder: Path, count: int, key: str, study: str = "1.2.7.1") -> list[str]:
    """Images of one series with UIDs of their own; returns the SOP instance UIDs."""
    folder.mkdir(parents=True)
    template = folder.parent / f"template-{key}"
    one = pydicom.dcmread(write_dicom_series(small_phantom(), template, SeriesSettings())[0])
    shutil.rmtree(template)
    one.PatientID, one.StudyInstanceUID, one.SeriesInstanceUID = "SENT", study, f"{study}.{key}"
    uids = []
    for k in range(count):
        one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = f"{study}.{key}.{k}"
        one.InstanceNumber, one.ImagePositionPatient = k + 1, [0, 0, k]
        one.save_as(folder / f"{k}.dcm", enforce_file_format=True)
        uids.append(str(one.SOPInstanceUID))
    return uids


@dataclass
class Orthanc:
    """A running Orthanc."""

    http: int
    dicom: int
    title: str = "ORTHANC"

    @property
    def url(self) -> str:
        """Its REST interface."""
        return f"http://localhost:{self.http}"

    @property
    def dicomweb(self) -> str:
        """Its DICOMweb interface."""
        return f"{self.url}/dicom-web"

    def post(self, path: str, content: bytes) -> object:
        """POST to the REST interface."""
        request = urllib.request.Request(self.url + path, content, method="POST")
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read() or b"null")

    def get(self, path: str) -> bytes:
        """GET from the REST interface."""
        with urllib.request.urlopen(self.url + path, timeout=60) as answer:
            return bytes(answer.read())


@contextmanager
def orthanc(root: Path, modalities: dict[str, list[object]] | None = None) -> Iterator[Orthanc]:
    """Start Orthanc with its DICOMweb plugin in a folder of its own."""
    root.mkdir(exist_ok=True)
    one = Orthanc(free_port(), free_port())
    plugin = next(Path("/usr").rglob("libOrthancDicomWeb.so*"))
    settings = {
        "Name": "test",
        "StorageDirectory": str(root / "storage"),
        "IndexDirectory": str(root / "storage"),
        "HttpPort": one.http,
        "DicomPort": one.dicom,
        "DicomAet": one.title,
        "RemoteAccessAllowed": True,
        "AuthenticationEnabled": False,
        "DicomAlwaysAllowGet": True,
        "DicomAlwaysAllowFind": True,
        "DicomAlwaysAllowMove": True,
        "DicomCheckCalledAet": False,
        "Plugins": [str(plugin)],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        "DicomModalities": modalities or {},
        "OverwriteInstances": True,
        "StableAge": 1,
    }
    (root / "orthanc.json").write_text(json.dumps(settings), encoding="utf-8")
    log = (root / "log").open("w", encoding="utf-8")
    environment = {**os.environ, "LC_ALL": "C"}
    process = subprocess.Popen(
        [program("Orthanc"), str(root / "orthanc.json")], stdout=log, stderr=log, env=environment
    )
    try:
        for _ in range(200):
            try:
                one.get("/system")
                break
            except OSError:
                assert process.poll() is None, (root / "log").read_text(encoding="utf-8")
                time.sleep(0.1)
        yield one
    finally:
        process.terminate()
        process.wait(30)
        log.close()
