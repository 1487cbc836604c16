"""Another DICOM system, and what is asked of it."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pydicom
from pydicom.dataset import Dataset
from pynetdicom import AE, StoragePresentationContexts, build_role, evt
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
    Verification,
)

from sarcoscope.dicomnet.receiver import TRANSFER_SYNTAXES
from sarcoscope.errors import IdentityError, NetworkError, NotFoundError, SettingError
from sarcoscope.files import write_bytes
from sarcoscope.imaging.instances import read_header, text_of
from sarcoscope.progress import Progress

_PENDING: Final = (0xFF00, 0xFF01)
_MOST_CONTEXTS: Final = 120
_STUDY_KEYS: Final = ("StudyInstanceUID", "PatientID", "StudyDate", "ModalitiesInStudy", "AccessionNumber")
_SERIES_KEYS: Final = ("StudyInstanceUID", "SeriesInstanceUID", "Modality", "SeriesDescription")


@dataclass(frozen=True)
class Peer:
    """Address of another system."""

    host: str
    port: int
    title: str
    """Its AE title."""
    own_title: str = "SARCOSCOPE"
    timeout_s: float = 60.0
    authority: Path | None = None
    """Encrypt (TLS), and believe a peer whose certificate this one (PEM) signed."""

    @classmethod
    def parse(cls, text: str, own_title: str = "SARCOSCOPE", authority: Path | None = None) -> Peer:
        """``AE@HOST:PORT``.

        Raises:
            SettingError: it is not.
        """
        title, _, place = text.partition("@")
        host, _, port = place.rpartition(":")
        if not (title and host and port.isdigit() and 0 < int(port) < 65536):
            raise SettingError(f"'{text}' is no DICOM address; give AE@HOST:PORT.")
        return cls(host, int(port), title, own_title, authority=authority)

    def _entity(self) -> AE:
        entity = AE(ae_title=self.own_title)
        entity.maximum_pdu_size = 1 << 20
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = self.timeout_s
        entity.connection_timeout = min(self.timeout_s, 15.0)
        return entity

    def _associated(self, entity: AE, **more: Any) -> Any:
        if self.authority is not None:
            more["tls_args"] = (_trust(self.authority), self.host)
        association = entity.associate(self.host, self.port, ae_title=self.title, **more)
        if not association.is_established:
            why = "refuses this system" if association.is_rejected else "does not answer"
            raise NetworkError(f"{self.title} at {self.host}:{self.port} {why}.")
        return association

    def echo(self) -> None:
        """See that it answers.

        Raises:
            NetworkError: it does not.
        """
        entity = self._entity()
        entity.add_requested_context(Verification)
        association = self._associated(entity)
        status = association.send_c_echo()
        association.release()
        if not status or status.Status != 0:
            raise NetworkError(f"{self.title} does not answer.")

    def send(self, files: Sequence[Path], progress: Progress | None = None) -> int:
        """Send DICOM files (C-STORE); returns how many arrived.

        Raises:
            NetworkError: it does not answer, or refused one.
        """
        kinds: dict[tuple[str, str], None] = {}
        for path in files:
            header = read_header(path)
            if header is not None and "SOPClassUID" in header:
                kinds[str(header.SOPClassUID), str(header.file_meta.TransferSyntaxUID)] = None
        if len(kinds) > _MOST_CONTEXTS:
            raise SettingError("The files are of too many kinds for one association.")
        entity = self._entity()
        for sop_class, syntax in kinds:
            entity.add_requested_context(sop_class, syntax)
        association = self._associated(entity)
        sent = 0
        try:
            for n, path in enumerate(files):
                if progress is not None:
                    progress("send", n / len(files))
                status = association.send_c_store(path)
                if not status or status.Status not in (0x0000, 0xB000, 0xB006, 0xB007):
                    code = f"0x{status.Status:04X}" if status else "no answer"
                    raise NetworkError(
                        f"{self.title} refused an image ({code}); {sent} of {len(files)} arrived."
                    )
                sent += 1
        except ValueError as error:
            raise NetworkError(f"{self.title} does not take this kind of object.") from error
        finally:
            if association.is_established:
                association.release()
        return sent

    def find(self, level: str, **keys: str) -> list[Dataset]:
        """C-FIND in the study root; ``level`` is ``STUDY`` or ``SERIES``.

        Raises:
            NetworkError: it does not answer.
        """
        query = Dataset()
        query.QueryRetrieveLevel = level
        wanted = _SERIES_KEYS if level == "SERIES" else _STUDY_KEYS
        for keyword in (*wanted, *keys):
            setattr(query, keyword, keys.get(keyword, ""))
        entity = self._entity()
        entity.add_requested_context(StudyRootQueryRetrieveInformationModelFind)
        association = self._associated(entity)
        found = []
        for status, answer in association.send_c_find(query, StudyRootQueryRetrieveInformationModelFind):
            if status and status.Status in _PENDING and answer is not None:
                found.append(answer)
            elif not status or status.Status not in (0, *_PENDING):
                association.release()
                raise NetworkError(f"{self.title} did not answer the query.")
        association.release()
        return found

    def fetch(self, series: Sequence[Dataset], out: Path, *, method: str = "get", port: int = 0) -> int:
        """Fetch series into ``out`` by C-GET, or by C-MOVE to this system; returns how many images came.

        Args:
            series: answers of :meth:`find` at the level of series.
            out: folder.
            method: ``get`` or ``move``.
            port: port on which this system listens for C-MOVE, as the other one knows it.

        Raises:
            NetworkError: it does not answer, or failed.
        """
        out.mkdir(parents=True, exist_ok=True)
        taken: set[str] = set()

        def keep(event: Any) -> int:
            uid = str(event.request.AffectedSOPInstanceUID)
            name = uid if set(uid) <= set("0123456789.") and uid.strip(".") else f"x{len(taken)}"
            write_bytes(out / f"{name}.dcm", event.encoded_dataset())
            taken.add(uid)
            return 0

        entity = self._entity()
        handlers: list[Any] = [(evt.EVT_C_STORE, keep)]
        if method == "get":
            contexts = list(_storage_contexts())
            entity.requested_contexts = contexts
            roles = [build_role(c.abstract_syntax or "", scp_role=True) for c in contexts]
            entity.add_requested_context(StudyRootQueryRetrieveInformationModelGet)
            association = self._associated(entity, ext_neg=roles, evt_handlers=handlers)
            for one in series:
                _check(
                    association.send_c_get(_level(one), StudyRootQueryRetrieveInformationModelGet), self.title
                )
            association.release()
        else:
            entity.supported_contexts = list(_storage_contexts())
            server: Any = entity.start_server(("", port), block=False, evt_handlers=handlers)
            try:
                entity.add_requested_context(StudyRootQueryRetrieveInformationModelMove)
                association = self._associated(entity)
                for one in series:
                    answers = association.send_c_move(
                        _level(one), self.own_title, StudyRootQueryRetrieveInformationModelMove
                    )
                    _check(answers, self.title)
                association.release()
            finally:
                server.shutdown()
                server.server_close()
        return len(taken)


def _trust(authority: Path) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=str(authority))
    except (OSError, ssl.SSLError) as error:
        raise SettingError(f"The certificate '{authority.name}' cannot be read.") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _storage_contexts() -> Iterator[PresentationContext]:
    """CT and what lies beside it (an association has room for 128 kinds)."""
    for context in StoragePresentationContexts[:_MOST_CONTEXTS]:
        yield build_context(context.abstract_syntax or "", list(TRANSFER_SYNTAXES))


def _level(series: Dataset) -> Dataset:
    query = Dataset()
    query.QueryRetrieveLevel = "SERIES"
    query.StudyInstanceUID, query.SeriesInstanceUID = series.StudyInstanceUID, series.SeriesInstanceUID
    return query


def _check(answers: Iterator[tuple[Dataset, Dataset | None]], title: str) -> None:
    for status, _ in answers:
        if not status or status.Status not in (0x0000, 0xB000, *_PENDING):
            raise NetworkError(f"{title} could not give the series.")


def dicom_files(source: Path) -> list[Path]:
    """Every DICOM file below a folder, or the file itself.

    Raises:
        NotFoundError: there is none.
    """
    paths = [source] if source.is_file() else sorted(p for p in source.rglob("*") if p.is_file())
    files = [p for p in paths if read_header(p) is not None]
    if not files:
        raise NotFoundError(f"No DICOM file was found in '{source.name}'.")
    return files


def refuse_pseudonyms(files: Sequence[Path]) -> None:
    """Objects under a pseudonym never go to a clinical system.

    Raises:
        IdentityError: one of them is de-identified.
    """
    for path in files:
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["PatientIdentityRemoved"])
        if text_of(header, "PatientIdentityRemoved").upper() == "YES":
            raise IdentityError(
                "De-identified objects are not sent to a clinical system: restore their identity first "
                "('sarcoscope restore'), or say that the receiver is a research system (--research)."
            )
