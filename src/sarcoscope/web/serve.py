"""Run everything on one computer: pages, intake, workers."""

from __future__ import annotations

import ipaddress
import threading
from dataclasses import dataclass

import uvicorn

from sarcoscope.errors import NetworkError, SettingError
from sarcoscope.jobs.study_job import keep_working
from sarcoscope.store.store import Store
from sarcoscope.web.app import create_app


@dataclass(frozen=True)
class Listening:
    """Where the pages are served.

    Raises:
        SettingError: a certificate without its key.
    """

    address: str = "127.0.0.1"
    port: int = 8010
    certificate: str | None = None
    key: str | None = None
    behind_proxy: bool = False
    """A proxy in front of it ends TLS (its X-Forwarded headers are believed)."""

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise SettingError("TLS needs a certificate and its key.")
        if not self.is_loopback and self.certificate is None and not self.behind_proxy:
            raise SettingError(
                "Beyond this computer the pages need TLS: give --tls-certificate and --tls-key, "
                "or --behind-proxy when a proxy in front of it does TLS."
            )

    @property
    def is_loopback(self) -> bool:
        """Only this computer can connect."""
        if self.address == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.address).is_loopback
        except ValueError:
            return False

    @property
    def url(self) -> str:
        """Address of the pages."""
        scheme = "http" if self.certificate is None else "https"
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{scheme}://{host}:{self.port}/"


def serve(store: Store, where: Listening, workers: int, scheduler: str | None = None) -> None:
    """Serve until the process is told to stop.

    Args:
        store: where everything lies.
        where: address, port, TLS.
        workers: processes that analyse; 0: none here (other hosts do).
        scheduler: address of a Dask scheduler that analyses instead.

    Raises:
        NetworkError: the port is taken, or the scheduler does not answer.
    """
    stop = threading.Event()
    pool = threading.Thread(target=keep_working, args=(store, workers, scheduler, stop), daemon=True)
    if workers or scheduler:
        pool.start()
    config = uvicorn.Config(
        create_app(store),
        host=where.address,
        port=where.port,
        ssl_certfile=where.certificate,
        ssl_keyfile=where.key,
        proxy_headers=where.behind_proxy,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=5,
    )
    server = uvicorn.Server(config)
    try:
        server.run()
    except SystemExit as error:
        raise NetworkError(f"The port {where.port} cannot be opened: it is taken, or not allowed.") from error
    finally:
        stop.set()
        if pool.is_alive():
            pool.join(15)
