"""C-STORE and C-ECHO service: takes images from allowed senders into the spool."""

from __future__ import annotations

import io
import ipaddress
import logging
import ssl
import struct
import threading
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydicom.filereader import read_dataset
from pydicom.tag import Tag
from pydicom.uid import PYDICOM_IMPLEMENTATION_UID, UID
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom import _config as pynetdicom_config
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]
from pynetdicom.transport import AssociationSocket

from sarcoscope.dicomnet.spool import Spool, SpoolFullError
from sarcoscope.errors import NetworkError, SettingError, StorageError
from sarcoscope.imaging.instances import text_of

log = logging.getLogger(__name__)
SUCCESS: Final = 0x0000
OUT_OF_RESOURCES: Final = 0xA700
CANNOT_UNDERSTAND: Final = 0xC000
_STUDY_UID: Final = 0x0020000D
_PATIENT_ID: Final = 0x00100020
TRANSFER_SYNTAXES: Final = (
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.51",
    "1.2.840.10008.1.2.4.57",
    "1.2.840.10008.1.2.4.70",
    "1.2.840.10008.1.2.4.80",
    "1.2.840.10008.1.2.4.81",
    "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.4.91",
    "1.2.840.10008.1.2.4.201",
    "1.2.840.10008.1.2.4.202",
    "1.2.840.10008.1.2.4.203",
    "1.2.840.10008.1.2.5",
)


@dataclass(frozen=True)
class Sender:
    """Who may send: an AE title (``*``: any), from an address or network (empty: anywhere)."""

    title: str
    network: str = ""

    @classmethod
    def parse(cls, text: str) -> Sender:
        """``AE``, ``AE@ADDRESS`` or ``AE@NETWORK/BITS``.

        Raises:
            SettingError: it is none of these.
        """
        title, _, network = text.partition("@")
        try:
            if network:
                ipaddress.ip_network(network, strict=False)
        except ValueError as error:
            raise SettingError(f"'{network}' is neither an address nor a network.") from error
        if not title.strip() or len(title) > 16:
            raise SettingError(f"'{title}' is no AE title (1 to 16 characters).")
        return cls(title.strip(), network)

    def allows(self, title: str, address: str) -> bool:
        """This sender is meant."""
        return self.title in ("*", title) and self.allows_address(address)

    def allows_address(self, address: str) -> bool:
        """Something from this address may be this sender."""
        if not self.network:
            return True
        return ipaddress.ip_address(address) in ipaddress.ip_network(self.network, strict=False)


@dataclass(frozen=True)
class Tls:
    """Certificate and key of the receiver; with ``authority`` senders must show a certificate of it."""

    certificate: Path
    key: Path
    authority: Path | None = None

    def context(self) -> ssl.SSLContext:
        """The context of the server.

        Raises:
            SettingError: a file is missing or no certificate.
        """
        try:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.load_cert_chain(self.certificate, self.key)
            if self.authority is not None:
                context.load_verify_locations(self.authority)
                context.verify_mode = ssl.CERT_REQUIRED
        except (OSError, ssl.SSLError) as error:
            raise SettingError("The TLS certificate or its key cannot be read.") from error
        return context


class Receiver:
    """Listens and puts what comes into the spool.

    Args:
        spool: where images go.
        title: our AE title; associations called for another are refused.
        port: TCP port (0: any free one).
        address: address to listen on.
        senders: who may send; empty: anybody (say so to the user).
        associations: how many at once.
        timeout_s: an association that is silent for so long is ended.
        tls: encrypt.
    """

    def __init__(
        self,
        spool: Spool,
        *,
        title: str = "SARCOSCOPE",
        port: int = 11112,
        address: str = "",
        senders: Sequence[Sender] = (),
        associations: int = 16,
        timeout_s: float = 60.0,
        tls: Tls | None = None,
    ) -> None:
        self.spool, self.senders = spool, tuple(senders)
        self.received = self.refused = 0
        self._counting = threading.Lock()
        # Identities must not come into any log through the library's own checks.
        pynetdicom_config.LOG_HANDLER_LEVEL = "none"
        AssociationSocket.recv = _receive_in_large_pieces  # type: ignore[method-assign, assignment]
        entity = AE(ae_title=title)
        entity.supported_contexts = [
            build_context(context.abstract_syntax or "", list(TRANSFER_SYNTAXES))
            for context in AllStoragePresentationContexts
        ]
        entity.add_supported_context(Verification)
        entity.require_called_aet = True
        entity.maximum_associations = associations
        entity.maximum_pdu_size = 1 << 20
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = timeout_s
        titles = [s.title for s in self.senders]
        if titles and "*" not in titles:
            entity.require_calling_aet = titles
        handlers: list[Any] = [
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_C_ECHO, lambda event: SUCCESS),
            (evt.EVT_REJECTED, self._rejected),
            (evt.EVT_ABORTED, lambda event: log.info("an association was aborted")),
        ]
        encryption = tls.context() if tls is not None else None
        try:
            server: Any = entity.start_server(
                (address, port),
                block=False,
                evt_handlers=handlers,
                ssl_context=encryption,
            )
        except OSError as error:
            raise NetworkError(f"Port {port} cannot be opened: {error.strerror}.") from error
        server.verify_request = self._may_connect
        self._server = server
        self._entity = entity

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._server.socket.getsockname()[1])

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._entity.shutdown()

    def _may_connect(self, request: object, address: tuple[str, int]) -> bool:
        host = address[0].removeprefix("::ffff:")
        allowed = not self.senders or any(s.allows_address(host) for s in self.senders)
        if not allowed:
            self._count(refused=1)
            log.warning("a connection from an address that is not allowed was refused")
        return allowed

    def _rejected(self, event: Any) -> None:
        self._count(refused=1)
        log.warning("an association was refused (AE title)")

    def _count(self, *, received: int = 0, refused: int = 0) -> None:
        with self._counting:
            self.received += received
            self.refused += refused

    def _store(self, event: Any) -> int:
        """Keep an image; success is said only when it is on the disk."""
        requestor = event.assoc.requestor
        title, address = str(requestor.ae_title).strip(), str(requestor.address).removeprefix("::ffff:")
        if self.senders and not any(s.allows(title, address) for s in self.senders):
            self._count(refused=1)
            return 0x0124
        try:
            request, syntax = event.request, str(event.context.transfer_syntax)
            uid = str(request.AffectedSOPInstanceUID)
            data = event.encoded_dataset(include_meta=False)
            study = _study_of(data, syntax)
            start = _file_start(str(request.AffectedSOPClassUID), uid, syntax)
            self.spool.put(study, uid, start + data)
        except SpoolFullError:
            log.error("the disk is full: an image was refused")
            return OUT_OF_RESOURCES
        except StorageError:
            log.exception("an image could not be kept")
            return OUT_OF_RESOURCES
        except Exception:
            log.warning("an image could not be understood and was refused")
            return CANNOT_UNDERSTAND
        self._count(received=1)
        return SUCCESS


def _study_of(data: bytes, syntax: str) -> str:
    """Study UID of an encoded data set; without one, the patient's number."""
    kind = UID(syntax)
    stream = io.BytesIO(zlib.decompress(data, -zlib.MAX_WBITS) if kind.is_deflated else data)
    header = read_dataset(
        stream,
        kind.is_implicit_VR,
        kind.is_little_endian,
        stop_when=lambda tag, vr, length: tag > _STUDY_UID,
        specific_tags=[Tag(_STUDY_UID), Tag(_PATIENT_ID)],
    )
    return text_of(header, "StudyInstanceUID") or f"patient {text_of(header, 'PatientID')}"


def _file_start(sop_class: str, uid: str, syntax: str) -> bytes:
    """Preamble and file meta of an object (PS3.10 section 7.1), explicit VR little endian."""
    elements = _element(1, b"OB", b"\x00\x01")
    for number, text in ((2, sop_class), (3, uid), (0x10, syntax), (0x12, PYDICOM_IMPLEMENTATION_UID)):
        elements += _element(number, b"UI", text.encode("ascii"))
    elements += _element(0x13, b"SH", b"SARCOSCOPE")
    return bytes(128) + b"DICM" + _element(0, b"UL", struct.pack("<L", len(elements))) + elements


def _element(number: int, vr: bytes, value: bytes) -> bytes:
    value += (b"\x00" if vr == b"UI" else b" ") * (len(value) % 2)
    length = struct.pack("<HL", 0, len(value)) if vr == b"OB" else struct.pack("<H", len(value))
    return struct.pack("<HH", 2, number) + vr + length + value


def _receive_in_large_pieces(socket: AssociationSocket, nr_bytes: int) -> bytearray:
    """``AssociationSocket.recv`` with one buffer: pynetdicom's own pieces of 4 KB halve the speed."""
    out = bytearray(nr_bytes)
    taken = 0
    with memoryview(out) as view:
        while taken < nr_bytes:
            count = socket.socket.recv_into(view[taken:]) if socket.socket is not None else 0
            if not count:
                break
            taken += count
    del out[taken:]
    return out
