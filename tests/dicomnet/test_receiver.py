"""The receiver against dcmtk and against bad peers: nothing lost, nothing doubled, nobody harmed."""

from __future__ import annotations

import random
import re
import socket
import subprocess
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pydicom
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from pynetdicom import AE
from pynetdicom.sop_class import CTImageStorage, Verification  # type: ignore[attr-defined]

from sarcoscope.deid.mapping import FileMapping
from sarcoscope.dicomnet.handover import Handover
from sarcoscope.dicomnet.peer import Peer, dicom_files, refuse_pseudonyms
from sarcoscope.dicomnet.receiver import Receiver, Sender, Tls
from sarcoscope.dicomnet.rules import Rule, Rules
from sarcoscope.dicomnet.spool import Spool, SpoolFullError
from sarcoscope.errors import IdentityError, NetworkError, SettingError
from tests.dicomnet.servers import free_port, make_images, start_receiver, storescu
from tests.imaging.kinds import second_series, series

# pynetdicom leaves the sockets of broken calls to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def _written(root: Path) -> list[str]:
    return [
        str(pydicom.dcmread(p, stop_before_pixels=True).SOPInstanceUID) for p in (root / "out").rglob("*.dcm")
    ]


def _wait(root: Path, count: int, seconds: float = 50.0) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if sum(1 for _ in (root / "out").rglob("*.dcm")) >= count and not any(
            (root / "spool/working").iterdir()
        ):
            return
        time.sleep(0.2)
    raise AssertionError((root / "log").read_text(encoding="utf-8"))


def test_eight_associations_of_dcmtk(tmp_path: Path) -> None:
    """2,000 instances over 8 associations run in `python -m tests.soak`; here 20 over each."""
    uids = [u for k in range(8) for u in make_images(tmp_path / f"in{k}", 20, str(k))]
    running = start_receiver(tmp_path / "rx", "--quiet-time", "1")
    senders = [storescu(running.port, tmp_path / f"in{k}") for k in range(8)]
    assert [s.wait(50) for s in senders] == [0] * 8
    _wait(running.root, len(uids))
    assert running.stop() == 0
    written = _written(running.root)
    assert len(written) == len(set(written)) == len(uids)
    with FileMapping(running.root / "map.sqlite") as mapping:
        assert {mapping.original_uid(u) for u in written} == set(uids)
    assert not list((running.root / "spool").rglob("*.dcm"))


@pytest.mark.parametrize("seed", range(2))
def test_sigkill_in_the_middle_loses_and_doubles_nothing(seed: int, tmp_path: Path) -> None:
    uids = make_images(tmp_path / "in", 120, "1")
    port = free_port()
    root = tmp_path / "rx"
    running = start_receiver(root, "--quiet-time", "2", port=port)
    sender = storescu(port, tmp_path / "in")
    time.sleep(random.Random(seed).uniform(0.15, 0.9))
    running.kill()
    assert sender.wait(50) != 0 or sum(1 for _ in (root / "spool").rglob("*.dcm")) == 120
    running = start_receiver(root, "--quiet-time", "2", port=port)
    assert storescu(port, tmp_path / "in").wait(50) == 0
    _wait(root, len(uids))
    running.kill()
    running = start_receiver(root, "--quiet-time", "0.5", port=port)
    _wait(root, len(uids))
    running.stop()
    written = _written(root)
    assert len(written) == len(set(written)) == len(uids)


def test_kill_while_a_study_is_handed_on(tmp_path: Path) -> None:
    uids = make_images(tmp_path / "in", 60, "1")
    root = tmp_path / "rx"
    running = start_receiver(root, "--quiet-time", "0.3")
    assert storescu(running.port, tmp_path / "in").wait(50) == 0
    while not any((root / "spool/working").iterdir()):
        time.sleep(0.02)
    time.sleep(0.15)
    running.kill()
    running = start_receiver(root, "--quiet-time", "0.3")
    _wait(root, len(uids))
    running.stop()
    written = _written(root)
    assert len(written) == len(set(written)) == len(uids)


@pytest.fixture
def receiver(tmp_path: Path) -> Receiver:
    one = Receiver(
        Spool(tmp_path / "spool"),
        port=0,
        address="127.0.0.1",
        senders=(Sender("CT1"), Sender("CT2", "10.0.0.0/8")),
        timeout_s=2.0,
    )
    yield one  # type: ignore[misc]
    one.close()


def _works(receiver: Receiver) -> bool:
    Peer("127.0.0.1", receiver.port, "SARCOSCOPE", "CT1").echo()
    return True


def test_wrong_titles_are_refused(receiver: Receiver, tmp_path: Path) -> None:
    make_images(tmp_path / "in", 2, "1")
    assert storescu(receiver.port, tmp_path / "in", title="STRANGER").wait(30) != 0
    assert storescu(receiver.port, tmp_path / "in", title="CT1", called="OTHER").wait(30) != 0
    with pytest.raises(NetworkError, match="refuses"):
        Peer("127.0.0.1", receiver.port, "SARCOSCOPE", "STRANGER").echo()
    assert receiver.refused == 3
    assert receiver.spool.count() == 0
    assert storescu(receiver.port, tmp_path / "in", title="CT1").wait(30) == 0
    assert receiver.spool.count() == 2


def test_an_allowed_title_from_another_address_is_refused(receiver: Receiver, tmp_path: Path) -> None:
    make_images(tmp_path / "in", 2, "1")
    assert storescu(receiver.port, tmp_path / "in", title="CT2").wait(30) != 0
    assert receiver.spool.count() == 0
    assert _works(receiver)


def test_connections_from_elsewhere_are_not_taken(tmp_path: Path) -> None:
    one = Receiver(Spool(tmp_path / "s"), port=0, address="127.0.0.1", senders=(Sender("*", "10.1.0.0/16"),))
    with pytest.raises(NetworkError):
        Peer("127.0.0.1", one.port, "SARCOSCOPE", "CT1", timeout_s=3).echo()
    assert one.refused == 1
    one.close()


@pytest.mark.parametrize(
    "content",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        bytes(range(256)) * 20,
        b"\x01\x00\x00\x00\xff\xff" + b"A" * 4000,
        b"\x04\x00\x00\x00\x00\x10" + bytes(16),
        b"",
    ],
)
def test_garbage_and_half_open_calls_harm_nobody(content: bytes, receiver: Receiver) -> None:
    calls = [socket.create_connection(("127.0.0.1", receiver.port), 5) for _ in range(4)]
    for call in calls:
        call.sendall(content)
    assert _works(receiver)
    time.sleep(0.3)
    for call in calls:
        call.close()
    assert _works(receiver)
    assert receiver.spool.count() == 0


def test_an_object_that_is_none_is_refused(receiver: Receiver) -> None:
    entity = AE("CT1")
    entity.add_requested_context(CTImageStorage)
    association = entity.associate("127.0.0.1", receiver.port, ae_title="SARCOSCOPE")
    broken = pydicom.Dataset()
    broken.SOPClassUID, broken.SOPInstanceUID = CTImageStorage, "1.2.3"
    broken.file_meta = pydicom.dataset.FileMetaDataset()
    broken.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
    assert association.send_c_store(broken).Status == 0
    association.release()
    assert receiver.spool.count() == 1
    assert _works(receiver)


def test_a_full_disk_is_said_and_nothing_is_lost(tmp_path: Path) -> None:
    make_images(tmp_path / "in", 3, "1")
    spool = Spool(tmp_path / "spool", least_free=10**18)
    one = Receiver(spool, port=0, address="127.0.0.1")
    assert storescu(one.port, tmp_path / "in").wait(30) != 0
    assert spool.count() == 0
    spool.least_free = 0
    assert storescu(one.port, tmp_path / "in").wait(30) == 0
    assert spool.count() == 3
    one.close()
    with pytest.raises(SpoolFullError):
        Spool(tmp_path / "other", least_free=10**18).put("1", "2", b"x")


def _certificate(folder: Path) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )


def test_tls(tmp_path: Path) -> None:
    _certificate(tmp_path)
    tls = Tls(tmp_path / "cert.pem", tmp_path / "key.pem")
    one = Receiver(Spool(tmp_path / "spool"), port=0, address="127.0.0.1", tls=tls, timeout_s=3)
    command = ["echoscu", "-aec", "SARCOSCOPE", "localhost", str(one.port)]
    secure = [*command, "+tla", "-ic"]
    assert subprocess.run(secure, capture_output=True, timeout=30, check=False).returncode == 0
    assert subprocess.run(
        [*command, "-ta", "2", "-td", "2"], capture_output=True, timeout=40, check=False
    ).returncode
    Peer("localhost", one.port, "SARCOSCOPE", authority=tmp_path / "cert.pem").echo()
    other = tmp_path / "other"
    other.mkdir()
    _certificate(other)
    with pytest.raises(NetworkError):
        Peer("localhost", one.port, "SARCOSCOPE", timeout_s=3, authority=other / "cert.pem").echo()
    one.close()
    with pytest.raises(SettingError, match="TLS"):
        Tls(tmp_path / "no.pem", tmp_path / "no.key").context()


def test_many_threads_write_whole_files(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")

    def work(n: int) -> None:
        for k in range(30):
            spool.put("1.2", f"1.2.{k}", bytes([n]) * 5000)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    files = list((tmp_path / "spool/incoming").rglob("*"))
    contents = [f.read_bytes() for f in files if f.is_file()]
    assert len(contents) == 30
    assert all(len(c) == 5000 and len(set(c)) == 1 for c in contents)


def test_spool_names_cannot_lead_outside(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    spool.put("../../evil", "/etc/passwd", b"x")
    spool.put("..", "...", b"x")
    assert all(re.fullmatch(r"x[0-9a-f]{40}\.dcm", p.name) for p in tmp_path.rglob("*.dcm"))
    assert len(list((tmp_path / "spool/incoming").rglob("*.dcm"))) == 2


def test_rules_decide_what_is_analysed(tmp_path: Path) -> None:
    path = tmp_path / "rules.csv"
    path.write_text(
        "modality,description,least_images,action\nCT,lung,,ignore\nCT,abd,10,analyze\n", encoding="utf-8"
    )
    rules = Rules.load(path)
    header = pydicom.Dataset()
    header.Modality, header.SeriesDescription = "CT", "Abdomen portal"
    assert rules.action(header, 20) == "analyze"
    assert rules.action(header, 5) == "store"
    header.SeriesDescription = "Lung"
    assert rules.action(header, 20) == "ignore"
    for wrong in ("action\nburn\n", "action,colour\nstore,red\n", "description,action\n[,store\n"):
        path.write_text(wrong, encoding="utf-8")
        with pytest.raises(SettingError):
            Rules.load(path)


def test_handover_analyses_and_ignores(tmp_path: Path) -> None:

    folder = second_series(tmp_path, lambda image, n: setattr(image, "SeriesDescription", "Lung 1.0 mm"))
    spool = Spool(tmp_path / "spool")
    for path in folder.glob("*.dcm"):
        image = pydicom.dcmread(path)
        spool.put(str(image.StudyInstanceUID), str(image.SOPInstanceUID), path.read_bytes())
    told: list[str] = []
    rules = Rules((Rule(description="lung", action="ignore"), Rule(modality="CT", action="analyze")))
    handover = Handover(
        spool,
        tmp_path / "out",
        tmp_path / "m.sqlite",
        rules=rules,
        results=tmp_path / "results",
        told=told.append,
    )
    assert not handover.step(3600)
    assert handover.step(0)
    assert len(list((tmp_path / "out").rglob("*.dcm"))) == 14
    done = list((tmp_path / "results").rglob("result.json")) + list(
        (tmp_path / "results").rglob("failure.txt")
    )
    assert len(done) == 1
    assert told
    assert not list((tmp_path / "spool").rglob("*.dcm"))


def test_what_cannot_be_handed_on_is_put_aside(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    spool.put("1.2", "1.3", b"no DICOM at all")
    handover = Handover(spool, tmp_path / "out", tmp_path / "m.sqlite", told=lambda line: None)
    assert handover.step(0)
    assert (tmp_path / "spool/failed/1.2/1.3.dcm").read_bytes() == b"no DICOM at all"
    assert "No DICOM" in (tmp_path / "spool/failed/1.2.txt").read_text(encoding="utf-8")


def test_pseudonyms_do_not_go_to_a_clinical_system(tmp_path: Path) -> None:
    make_images(tmp_path / "in", 1, "1")
    files = dicom_files(tmp_path / "in")
    refuse_pseudonyms(files)
    image = pydicom.dcmread(files[0])
    image.PatientIdentityRemoved = "YES"
    image.save_as(files[0])
    with pytest.raises(IdentityError, match="clinical"):
        refuse_pseudonyms(files)


@pytest.mark.parametrize("text", ["", "AE", "AE@host", "AE@host:0", "AE@host:x", "@host:1"])
def test_addresses_that_are_none(text: str) -> None:
    with pytest.raises(SettingError):
        Peer.parse(text)


@pytest.mark.parametrize("text", ["", "A" * 17, "CT@nowhere", "CT@1.2.3.400"])
def test_senders_that_are_none(text: str) -> None:
    with pytest.raises(SettingError):
        Sender.parse(text)


def test_a_silent_port_gets_a_sentence() -> None:
    with pytest.raises(NetworkError, match="does not answer"):
        Peer("127.0.0.1", free_port(), "NOBODY", timeout_s=2).echo()


def test_a_taken_port_gets_a_sentence(receiver: Receiver, tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match="cannot be opened"):
        Receiver(Spool(tmp_path / "s2"), port=receiver.port, address="127.0.0.1")
    assert Verification


@pytest.mark.parametrize(
    "syntax", ["implicit", "explicit", "deflated", "big-endian", "rle", "jpeg-ls", "jpeg2000"]
)
def test_every_transfer_syntax_arrives_as_it_was_sent(
    syntax: str, receiver: Receiver, tmp_path: Path
) -> None:

    folder = series(tmp_path, syntax=syntax)
    assert Peer("127.0.0.1", receiver.port, "SARCOSCOPE", "CT1").send(dicom_files(folder)) == 14
    sent = {str(i.SOPInstanceUID): i for i in map(pydicom.dcmread, folder.glob("*.dcm"))}
    kept = [pydicom.dcmread(p) for p in receiver.spool.root.rglob("*.dcm")]
    assert len(kept) == 14
    study = {p.parent.name for p in receiver.spool.root.rglob("*.dcm")}
    assert study == {str(kept[0].StudyInstanceUID)}
    for image in kept:
        original = sent[str(image.SOPInstanceUID)]
        assert image.file_meta.TransferSyntaxUID == original.file_meta.TransferSyntaxUID
        assert image.to_json_dict() == original.to_json_dict()


def test_studies_of_the_network_come_into_the_store(tmp_path: Path) -> None:
    from sqlalchemy import select

    from sarcoscope.jobs.queue import JobQueue
    from sarcoscope.store.accounts import first_start
    from sarcoscope.store.store import Store
    from sarcoscope.store.tables import Study

    store = Store.open(tmp_path / "store")
    first_start(store.database)
    make_images(tmp_path / "in", 12, "1")
    options = ("--into-store", "--data", str(tmp_path / "store"), "--project", "default", "--quiet-time", "1")
    running = start_receiver(tmp_path / "rx", *options, "--once")
    assert storescu(running.port, tmp_path / "in").wait(50) == 0
    assert running.process.wait(50) == 0
    with store.database.reading() as session:
        (study,) = session.scalars(select(Study)).all()
        assert study.n_images == 12
        assert study.person.pseudonym.startswith("SC")
    with JobQueue(store.database.url) as queue:
        assert queue.counts()["queued"] == 1
    assert not any((tmp_path / "rx/spool/working").iterdir())
    store.close()


@pytest.mark.parametrize(
    ("rules", "series", "queued"),
    [
        (None, 2, 1),
        ("modality,description,action\n,lung,ignore\nCT,,analyze\n", 1, 1),
        ("modality,description,action\n,lung,analyze\n", 2, 1),
        ("modality,description,action\nMR,,analyze\n", 2, 0),
    ],
    ids=("none", "ignored", "analysed", "stored"),
)
def test_a_projects_receiver_rules(tmp_path: Path, rules: str | None, series: int, queued: int) -> None:
    from sqlalchemy import select

    from sarcoscope.dicomnet.store_handover import StoreHandover, destination
    from sarcoscope.jobs.queue import JobQueue
    from sarcoscope.store.accounts import first_start
    from sarcoscope.store.store import Store
    from sarcoscope.store.tables import Project, Study

    store = Store.open(tmp_path / "store")
    first_start(store.database)
    with store.database.writing() as session:
        session.scalars(select(Project)).one().receiver_rules = rules
    folder = second_series(tmp_path, lambda image, n: setattr(image, "SeriesDescription", "Lung 1.0 mm"))
    spool = Spool(tmp_path / "spool")
    for path in folder.glob("*.dcm"):
        image = pydicom.dcmread(path)
        spool.put(str(image.StudyInstanceUID), str(image.SOPInstanceUID), path.read_bytes())
    handover = StoreHandover(spool, store, *destination(store, "default", "local"), told=lambda line: None)
    assert handover.step(0)
    with store.database.reading() as session:
        assert [len(s.series) for s in session.scalars(select(Study))] == [series]
    with JobQueue(store.database.url) as queue:
        assert queue.counts()["queued"] == queued
    store.close()
