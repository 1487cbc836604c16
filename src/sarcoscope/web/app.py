"""The application: routes below ``/api/v1``, the pages, and what every answer carries."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path
from typing import Final

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import FileResponse
from fastapi.routing import APIRoute

from sarcoscope import __version__
from sarcoscope.errors import NotFoundError
from sarcoscope.language.catalogue import check_language, messages
from sarcoscope.language.fonts import font_path
from sarcoscope.store.store import Store
from sarcoscope.web.intake import Intake
from sarcoscope.web.problems import PROBLEMS, add_problems
from sarcoscope.web.routers import (
    administration,
    body,
    cohorts,
    corrections,
    explanation,
    readings,
    session,
    study,
    uploads,
    viewer,
    worklist,
)

API: Final = "/api/v1"
_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; "
        "object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
    ),
}
_KEPT: Final = {"Cache-Control": "public, max-age=31536000, immutable"}
_ABOUT: Final = (
    "Upload, worklist, results and administration of Sarcoscope. Sign in with POST /session (cookie, and "
    "X-CSRF-Token with every change), or send a token of yours as Authorization: Bearer. Research use only."
)


def create_app(store: Store, *, intake: Intake | None = None) -> FastAPI:
    """The web application over a store.

    Args:
        store: where everything lies.
        intake: takes uploads in; one is started with the application otherwise.
    """
    taking = intake or Intake(store)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        taking.start()
        yield
        taking.close()

    app = FastAPI(
        title="Sarcoscope",
        version=__version__,
        description=_ABOUT,
        openapi_url=f"{API}/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        responses=PROBLEMS,
        generate_unique_id_function=_operation,
    )
    app.state.store, app.state.intake = store, taking
    api = APIRouter(prefix=API)
    for room in (
        session, uploads, body, worklist, study, viewer, explanation, corrections, readings, cohorts,
        administration,
    ):  # fmt: skip
        api.include_router(room.router)
    api.include_router(_about)
    app.include_router(api)
    add_problems(app)
    app.middleware("http")(_with_headers)
    _add_pages(app)
    return app


def _operation(route: APIRoute) -> str:
    return route.name


async def _with_headers(request: Request, call: Callable[[Request], Awaitable[Response]]) -> Response:
    response = await call(request)
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    if request.url.path.startswith(API):
        response.headers.setdefault("Cache-Control", "no-store")
    if request.url.scheme == "https":
        response.headers.setdefault("Strict-Transport-Security", "max-age=31536000")
    return response


def _font() -> FileResponse:
    """The Korean letters of the pages, where the computer has none."""
    return FileResponse(font_path(), headers=_KEPT)


_about = APIRouter(tags=["about"])


@_about.get("/health")
def health() -> dict[str, str]:
    """Whether the server answers."""
    return {"status": "ok", "version": __version__}


@_about.get("/catalogue/{language}")
def catalogue(language: str) -> dict[str, str]:
    """Every word and sentence of the pages in a language."""
    check_language(language)
    return {code: message.texts[language] for code, message in messages().items()}


def _add_pages(app: FastAPI) -> None:
    """The built pages; every other path is the application's, which finds its own way."""
    app.get("/fonts/korean.ttf", include_in_schema=False)(_font)
    folder = Path(str(files("sarcoscope.web").joinpath("pages")))

    @app.get("/{path:path}", include_in_schema=False)
    def page(path: str) -> Response:
        if path.startswith("api/"):
            raise NotFoundError("There is no such address.")
        wanted = (folder / path).resolve()
        if path and wanted.is_relative_to(folder) and wanted.is_file():
            return FileResponse(wanted, headers=_KEPT if path.startswith("assets/") else None)
        start = folder / "index.html"
        if not start.is_file():
            raise NotFoundError("The pages are not built: run 'make pages' in the source checkout.")
        return FileResponse(start, headers={"Cache-Control": "no-cache"})
