"""Errors as ``application/problem+json`` (RFC 9457); no answer holds a traceback or an identity."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from sarcoscope.errors import (
    AccessError,
    ConflictError,
    IdentityError,
    NotFoundError,
    PermanentError,
    RetriableError,
    SarcoscopeError,
)

log = logging.getLogger(__name__)


class SignInNeededError(AccessError):
    """Nobody is signed in (401)."""


class TooLargeError(PermanentError):
    """More bytes than are taken (413)."""


_STATUS: tuple[tuple[type[SarcoscopeError], int], ...] = (
    (SignInNeededError, 401),
    (AccessError, 403),
    (ConflictError, 409),
    (IdentityError, 409),
    (NotFoundError, 404),
    (TooLargeError, 413),
    (PermanentError, 422),
    (RetriableError, 503),
)
PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {
        "description": text,
        "content": {
            "application/problem+json": {
                "example": {"type": "about:blank", "title": text, "status": status, "detail": text}
            }
        },
    }
    for status, text in (
        (401, "Nobody is signed in."),
        (403, "No right to it."),
        (404, "It is not there, or not yours to see."),
        (409, "Two things contradict each other."),
        (413, "Too large."),
        (422, "A value that cannot be used."),
        (503, "Try again."),
    )
}
"""What every route may answer, for its documentation."""


def problem(status: int, detail: str, **more: object) -> JSONResponse:
    """A problem as an answer."""
    body = {"type": "about:blank", "title": _title(status), "status": status, "detail": detail, **more}
    headers = {"Retry-After": "5"} if status == 503 else None
    return JSONResponse(body, status, headers, media_type="application/problem+json")


def _title(status: int) -> str:
    return str(PROBLEMS.get(status, {}).get("description", "The request cannot be answered."))


def add_problems(app: FastAPI) -> None:
    """Answer every error of the application with a problem."""

    @app.exception_handler(SarcoscopeError)
    async def _ours(_request: Request, error: SarcoscopeError) -> JSONResponse:
        status = next((s for kind, s in _STATUS if isinstance(error, kind)), 500)
        more = {"newer": error.newer} if isinstance(error, ConflictError) else {}
        return problem(status, str(error), code=type(error).__name__, **more)

    @app.exception_handler(RequestValidationError)
    async def _invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        fields = [{"field": ".".join(str(p) for p in e["loc"][1:]), "text": e["msg"]} for e in error.errors()]
        return problem(422, "A value cannot be used.", errors=fields)

    @app.exception_handler(HTTPException)
    async def _http(_request: Request, error: HTTPException) -> JSONResponse:
        return problem(error.status_code, str(error.detail))

    @app.exception_handler(Exception)
    async def _fault(request: Request, error: Exception) -> JSONResponse:
        # The text of the error may hold what somebody typed: the log gets its kind and place only.
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        place = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace is not None else "?"
        log.error("%s %s failed: %s at %s", request.method, request.url.path, type(error).__name__, place)
        return problem(500, "A fault in Sarcoscope; it was written to the log.")
