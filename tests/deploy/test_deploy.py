"""What puts the platform on a computer: service unit, container, compose file, workers without pages."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
import yaml

from sarcoscope.jobs.queue import JobQueue
from sarcoscope.store.store import Store
from tests.conftest import REPOSITORY
from tests.jobs.kills import fill
from tests.web.server import add_users

PROGRAM = str(Path(sys.executable).with_name("sarcoscope"))


def _compose() -> dict:  # type: ignore[type-arg]
    return yaml.safe_load((REPOSITORY / "compose.yaml").read_text(encoding="utf-8"))


def test_service_unit_is_understood_by_systemd(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd is not here")
    text = (REPOSITORY / "deploy" / "sarcoscope.service").read_text(encoding="utf-8")
    unit = tmp_path / "sarcoscope.service"
    unit.write_text(text.replace("/opt/sarcoscope/bin/sarcoscope", PROGRAM), encoding="utf-8")
    found = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True)
    assert "sarcoscope.service" not in found.stderr, found.stderr
    assert found.returncode == 0


def test_compose_file_opens_nothing_to_others_and_has_no_secret() -> None:
    services = _compose()["services"]
    assert set(services) == {"database", "pages", "worker"}
    assert services["worker"]["deploy"]["replicas"] == 2
    ports = [p for s in services.values() for p in s.get("ports", [])]
    assert ports == ["127.0.0.1:8010:8010"]
    assert "${SARCOSCOPE_DB_PASSWORD:?" in services["database"]["environment"]["POSTGRES_PASSWORD"]


@pytest.mark.parametrize("service", ["pages", "worker"])
def test_commands_of_the_compose_file_exist(service: str) -> None:
    command, *options = _compose()["services"][service]["command"]
    told = subprocess.run([PROGRAM, command, "--help"], capture_output=True, text=True, check=True).stdout
    assert all(option in told for option in options if option.startswith("--"))


def test_workers_without_pages(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "data")
    add_users(store)
    fill(store, tmp_path / "in", 3, slices=1)
    worker = subprocess.Popen([PROGRAM, "work", "--data", str(store.data)], stderr=subprocess.DEVNULL)
    with JobQueue(store.database.url) as queue:
        end = time.monotonic() + 50
        while queue.unfinished() and time.monotonic() < end:
            time.sleep(0.2)
        assert queue.counts()["done"] == 3
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(20) == 0
    store.close()


def test_containers_start_and_answer() -> None:
    if shutil.which("docker") is None or subprocess.run(["docker", "info"], capture_output=True).returncode:
        pytest.skip("no Docker daemon is here")
    run = {"cwd": REPOSITORY, "env": {**os.environ, "SARCOSCOPE_DB_PASSWORD": "only-for-this-test"}}
    compose = ["docker", "compose", "--project-name", "sarcoscope-test"]
    try:
        subprocess.run([*compose, "up", "--build", "--detach", "--wait"], check=True, **run)  # type: ignore[call-overload]
        assert httpx.get("http://127.0.0.1:8010/api/v1/health").json()["status"] == "ok"
        shown = subprocess.run([*compose, "ps", "--quiet", "worker"], capture_output=True, check=True, **run)  # type: ignore[call-overload]
        assert len(shown.stdout.split()) == 2
    finally:
        subprocess.run([*compose, "down", "--volumes"], check=False, **run)  # type: ignore[call-overload]
