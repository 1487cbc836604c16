"""Writes ``frontend/openapi.json``, from which the pages' types are generated (``npm run types``)."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from sarcoscope.store.store import Store
from sarcoscope.web.app import create_app

TARGET = Path(__file__).resolve().parents[1] / "frontend" / "openapi.json"


def document() -> str:
    """The OpenAPI document as it is committed."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store.open(Path(folder))
        found = create_app(store).openapi()
        store.close()
    return json.dumps(found, ensure_ascii=False, indent=1) + "\n"


if __name__ == "__main__":
    TARGET.write_text(document(), encoding="utf-8")
