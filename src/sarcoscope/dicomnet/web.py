"""DICOMweb: query (QIDO), fetch (WADO) and store (STOW)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pydicom
from dicomweb_client.api import DICOMwebClient
from pydicom.dataset import Dataset

from sarcoscope.errors import NetworkError
from sarcoscope.files import write_bytes
from sarcoscope.imaging.dicom_files import to_bytes
from sarcoscope.progress import Progress


def _client(url: str) -> DICOMwebClient:
    client = DICOMwebClient(url.rstrip("/"))
    # A service that is not there is told at once.
    client.set_http_retry_params(retry=False)
    return client


def find_series(url: str, **keys: str) -> list[Dataset]:
    """Series that fit (keys are DICOM keywords such as ``PatientID`` or ``Modality``).

    Raises:
        NetworkError: it does not answer.
    """
    client = _client(url)
    try:
        fields = ["StudyInstanceUID", "SeriesInstanceUID", "Modality", "SeriesDescription"]
        answers = client.search_for_series(search_filters=dict(keys), fields=fields)
        return [Dataset.from_json(a) for a in answers]
    except Exception as error:
        raise NetworkError(f"The DICOMweb service does not answer ({type(error).__name__}).") from error


def fetch_series(url: str, series: Sequence[Dataset], out: Path, progress: Progress | None = None) -> int:
    """Fetch series into ``out``; returns how many images came.

    Raises:
        NetworkError: it does not answer.
    """
    client = _client(url)
    out.mkdir(parents=True, exist_ok=True)
    count = 0
    for n, one in enumerate(series):
        if progress is not None:
            progress("fetch_images", n / len(series))
        try:
            images: Any = client.iter_series(str(one.StudyInstanceUID), str(one.SeriesInstanceUID))
            for image in images:
                write_bytes(out / f"{image.SOPInstanceUID}.dcm", to_bytes(image))
                count += 1
        except (OSError, ValueError, RuntimeError) as error:
            raise NetworkError(f"A series could not be fetched ({type(error).__name__}).") from error
    return count


def store(url: str, files: Sequence[Path], progress: Progress | None = None) -> int:
    """Store files; returns how many were taken.

    Raises:
        NetworkError: it does not answer, or refused one.
    """
    client = _client(url)
    for n, path in enumerate(files):
        if progress is not None:
            progress("send", n / len(files))
        try:
            answer = client.store_instances([pydicom.dcmread(path)])
        except Exception as error:
            raise NetworkError(
                f"The DICOMweb service refused an image; {n} of {len(files)} arrived."
            ) from error
        if answer.get("FailedSOPSequence"):
            raise NetworkError(f"The DICOMweb service refused an image; {n} arrived.")
    return len(files)
