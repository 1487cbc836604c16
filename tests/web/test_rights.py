"""Every route for every role; sessions, lock-out, CSRF; hostile uploads; a schema-driven fuzz."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Iterator

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, settings

from sarcoscope.store.accounts import MOST_FAILURES, first_start
from sarcoscope.store.store import Store
from sarcoscope.web.app import API, create_app
from sarcoscope.web.serve import Listening
from tests.web.server import PASSWORD, add_users, client, phantom_zip, running, upload

COHORT = {"project": "liver", "centres": ["here"]}
NO_TABLE = {"name": "a.csv", "content": "YSxiCjEsMgo="}
ROLES = ("", "nobody", "stranger", "viewer", "annotator", "reviewer", "manager", "administrator", "root")
PROJECT = {"code": "liver", "title": "Liver", "centres": [{"centre": "here"}, {"centre": "there"}]}
SOME = {"studies": [1]}
SAVING = {"reason": "a test", "base": None, "key": "key-00000001"}
READERS = {
    "project": "liver", "centre": "here", "title": "L3", "arms": ["scratch"], "readers": ["annotator"],
    "studies": [1],
}  # fmt: skip
MOVE = {"level": "L3", "index_low": 1, "index_high": 2, "reason": "endplates"}
EDITS_NOTHING_YET = (401, 404, 404, 403, 404, 404, 404, 404, 404)
TABLE_OF_BODY = "/body-table?project=liver&centre=here&name=a.csv"
# method, path, body, answers for the ROLES in their order
# ("" signed out; nobody: no member; stranger: manager of another centre; root: manages the installation)
TABLE = [
    ("GET", "/health", None, (200,) * 9),
    ("GET", "/catalogue/ko", None, (200,) * 9),
    ("POST", "/session", {"name": "viewer", "password": "wrong"}, (403,) * 9),
    ("GET", "/me", None, (401, *(200,) * 8)),
    ("PUT", "/me/password", {"old": "wrong", "new": "x" * 12}, (401, *(403,) * 8)),
    ("PUT", "/me/language", {"language": "en"}, (401, *(204,) * 8)),
    ("GET", "/me/tokens", None, (401, *(200,) * 8)),
    ("POST", "/me/tokens", {"name": "script"}, (401, *(201,) * 8)),
    ("DELETE", "/me/tokens/99999", None, (401, *(404,) * 8)),
    ("POST", "/uploads", {"project": "liver", "centre": "here"}, (401, 404, 404, 403, 201, 201, 201, 201, 404)),
    ("PUT", "/uploads/{none}/files?name=a", None, (401, *(404,) * 8)),
    ("GET", "/uploads/{none}/files?name=a", None, (401, *(404,) * 8)),
    ("POST", "/uploads/{none}/finish", None, (401, *(404,) * 8)),
    ("GET", "/uploads/{none}", None, (401, *(404,) * 8)),
    ("DELETE", "/uploads/{none}", None, (401, *(404,) * 8)),
    ("GET", "/uploads", None, (401, *(200,) * 8)),
    ("POST", TABLE_OF_BODY, None, (401, 404, 404, 403, 422, 422, 422, 422, 404)),
    ("GET", "/studies", None, (401, *(200,) * 8)),
    ("GET", "/studies/status?ids=1", None, (401, *(200,) * 8)),
    ("GET", "/studies.csv", None, (401, *(200,) * 8)),
    ("POST", "/studies/process", SOME, (401, 404, 404, 403, 200, 200, 200, 200, 404)),
    ("POST", "/studies/cancel", SOME, (401, 404, 404, 403, 200, 200, 200, 200, 404)),
    ("POST", "/studies/assign", {**SOME, "user": None}, (401, 404, 404, 403, 403, 200, 200, 200, 404)),
    ("POST", "/studies/review", {**SOME, "review": "open"}, (401, 404, 404, 403, 403, 200, 200, 200, 404)),
    ("GET", "/contact-sheet", None, (401, *(200,) * 8)),
    ("GET", "/views", None, (401, *(200,) * 8)),
    ("POST", "/views", {"name": "mine", "content": {}}, (401, *(201,) * 8)),
    ("DELETE", "/views/99999", None, (401, *(404,) * 8)),
    ("GET", "/studies/1", None, (401, 404, 404, 200, 200, 200, 200, 200, 404)),
    ("POST", "/studies/1/process", {}, (401, 404, 404, 403, 202, 202, 202, 202, 404)),
    ("PUT", "/studies/1/disease", {"disease": "cirrhosis"}, (401, 404, 404, 403, 204, 204, 204, 204, 404)),
    ("PUT", "/studies/1/body", {"height_cm": 170}, (401, 404, 404, 403, 200, 200, 200, 200, 404)),
    # not analysed yet: who may see it hears so
    ("GET", "/studies/1/judged", None, (401, *(404,) * 8)),
    ("POST", "/studies/1/judged", None, (401, 404, 404, 403, 404, 404, 404, 404, 404)),
    ("GET", "/studies/1/report", None, (401, *(404,) * 8)),
    ("GET", "/studies/1/files/report.pdf", None, (401, *(404,) * 8)),
    ("POST", "/studies/1/identified-report", {}, (401, 404, 404, 403, 403, 403, 404, 403, 404)),
    ("GET", "/studies/1/viewer", None, (401, *(404,) * 8)),
    ("GET", "/studies/1/volume?low=0", None, (401, *(404,) * 8)),
    ("GET", "/studies/1/explanation", None, (401, *(404,) * 8)),
    ("GET", "/studies/1/evidence.png", None, (401, *(404,) * 8)),
    ("GET", "/studies/1/grad-cam?model=any&index=1", None, (401, *(404,) * 8)),
    ("GET", "/studies/1/slices.zip?low=0&high=1", None, (401, *(404,) * 8)),
    ("GET", "/studies/1/segmentation.dcm?low=0&high=1", None, (401, *(404,) * 8)),
    ("GET", "/studies/1/masks/1", None, (401, *(404,) * 8)),
    ("GET", "/studies/1/masks/1/difference?other=1", None, (401, *(404,) * 8)),
    ("POST", "/studies/1/masks", SAVING, EDITS_NOTHING_YET),
    ("POST", "/studies/1/masks/1/restore", {"reason": "back", "base": None}, EDITS_NOTHING_YET),
    ("POST", "/studies/1/masks/import?kind=dicom&reason=other", None, EDITS_NOTHING_YET),
    ("PUT", "/studies/1/draft/1", None, EDITS_NOTHING_YET),
    ("GET", "/studies/1/draft", None, (401, *(404,) * 8)),
    ("GET", "/studies/1/draft/numbers", None, (401, *(404,) * 8)),
    ("DELETE", "/studies/1/draft", None, (401, 404, 404, 403, 204, 204, 204, 204, 404)),
    ("POST", "/studies/1/levels", MOVE, EDITS_NOTHING_YET),
    ("GET", "/reader-studies", None, (401, *(200,) * 8)),
    # not analysed yet: it cannot be read either
    ("POST", "/reader-studies", READERS, (401, 404, 404, 403, 403, 403, 422, 422, 404)),
    *(
        (method, f"/reader-studies/99999/{what}", None, (401, *(404,) * 8))
        for method, what in (("GET", "tasks"), ("GET", "agreement"), ("POST", "freeze"), ("GET", "export.zip"))
    ),
    ("GET", "/reader-studies/99999/studies/1/readings", None, (401, *(404,) * 8)),
    ("GET", "/readings/next", None, (401, *(200,) * 8)),
    ("DELETE", "/readings/99999", None, (401, *(404,) * 8)),
    *(
        (method, f"/readings/99999/{what}", body, (401, *(404,) * 8))
        for method, what, body in (
            ("GET", "viewer", None), ("GET", "volume?low=0", None), ("GET", "start", None),
            ("GET", "draft", None), ("GET", "draft/numbers", None), ("DELETE", "draft", None),
            ("PUT", "draft/1", None), ("GET", "mask", None), ("POST", "finish", {"index_low": 1, "index_high": 2, "seconds": 1}),
            ("POST", "verdict", {"approve": True}),
        )
    ),
    ("GET", "/cohorts", None, (401, *(200,) * 8)),
    ("GET", "/cohorts/choices", None, (401, *(200,) * 8)),
    # who may do it hears that the table, or the cohort file, is none
    *(
        ("POST", f"/cohorts{path}", {**COHORT, **more}, (401, 404, 404, 403, 403, 403, 422, 422, 404))
        for path, more in (
            ("/table", {"table": NO_TABLE}), ("/table/check", {"table": NO_TABLE, "mapping": {}}),
            ("/preview", {"definition": {}}), ("", {"definition": {}}),
        )
    ),
    ("GET", "/cohorts/99999", None, (401, *(404,) * 8)),
    ("DELETE", "/cohorts/99999", None, (401, *(404,) * 8)),
    *(
        ("GET", f"/cohorts/99999/versions/1/{what}", None, (401, *(404,) * 8))
        for what in ("tables/1", "files/1", "export.zip")
    ),
    ("POST", "/cohorts/99999/versions/1/reference", None, (401, *(403,) * 7, 404)),
    ("GET", "/centres", None, (401, *(200,) * 8)),
    ("PUT", "/centres/here", {"code": "here", "name": "Here"}, (401, *(403,) * 7, 204)),
    ("GET", "/projects", None, (401, *(200,) * 8)),
    ("PUT", "/projects/liver", PROJECT, (401, 404, 204, 403, 403, 403, 204, 204, 204)),
    ("GET", "/projects/liver/readers", None, (401, 404, *(200,) * 6, 404)),
    ("GET", "/users", None, (401, *(403,) * 7, 200)),
    ("POST", "/users", {"name": "viewer"}, (401, *(403,) * 7, 422)),
    ("PUT", "/users/none", {"name": "none"}, (401, *(403,) * 7, 404)),
    ("POST", "/users/none/password", None, (401, *(403,) * 7, 404)),
    ("GET", "/jobs", None, (401, 403, 200, 403, 403, 403, 200, 200, 200)),
    ("GET", "/audit", None, (401, 403, 200, 403, 403, 403, 200, 200, 200)),
    ("GET", "/references", None, (401, *(200,) * 8)),
    ("GET", "/series-policy", None, (401, *(200,) * 8)),
    ("GET", "/sharing", None, (401, *(403,) * 7, 200)),
    ("GET", "/models", None, (401, *(200,) * 8)),
    ("GET", "/room", None, (401, *(200,) * 8)),
    ("GET", "/mapping-log?project=liver&centre=here", None, (401, 404, 404, 403, 403, 403, 200, 403, 404)),
    ("DELETE", "/studies/1", None, (401, 404, 404, 403, 403, 403, 204, 404, 404)),
    ("DELETE", "/session", None, (401, *(204,) * 8)),
]  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    opened = Store.open(tmp_path_factory.mktemp("rights") / "data")
    add_users(opened)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def url(store: Store) -> Iterator[str]:
    with running(store) as address:
        yield address


def test_every_route_for_every_role(url: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    upload(client(url, "annotator"), phantom_zip(tmp_path_factory.mktemp("zip")))
    callers = {role: client(url, role or None) for role in ROLES}
    wrong = []
    for method, path, body, expected in TABLE:
        for role, status in zip(ROLES, expected, strict=True):
            answer = callers[role].request(method, path.replace("{none}", "0" * 32), json=body)
            if answer.status_code != status:
                wrong.append((method, path, role, answer.status_code, status))
            if answer.status_code >= 400:
                assert answer.headers["content-type"] == "application/problem+json", path
    assert wrong == []


def test_the_table_names_every_route(store: Store) -> None:
    routes = {
        (method, re.sub(r"\{[a-z_]+\}", "*", path.removeprefix(API)))
        for path, operations in create_app(store).openapi()["paths"].items()
        for method in (m.upper() for m in operations)
    }
    named = {
        (m, re.sub(r"/(\{none\}|1|99999|none|liver|here|ko|report\.pdf)(?=/|$)", "/*", p.split("?")[0]))
        for m, p, _, _ in TABLE
    }
    assert named == routes


def test_lock_out_after_wrong_passwords(store: Store, url: str) -> None:
    browser = client(url)
    for _ in range(MOST_FAILURES):
        answer = browser.post("/session", json={"name": "viewer", "password": "no"})
        assert "wrong" in answer.json()["detail"]
    answer = browser.post("/session", json={"name": "viewer", "password": PASSWORD})
    assert answer.status_code == 403
    assert "quarter of an hour" in answer.json()["detail"]
    fresh = client(url, "root").post("/users/viewer/password").json()["password"]
    again = client(url).sign_in("viewer", fresh)
    assert again.get("/studies").status_code == 403  # the one-time password must be changed first
    assert again.put("/me/password", json={"old": fresh, "new": PASSWORD}).status_code == 204
    assert client(url, "viewer").get("/studies").status_code == 200


def test_a_change_without_the_pages_token_is_refused(url: str) -> None:
    browser = client(url, "annotator")
    del browser.headers["X-CSRF-Token"]
    assert browser.post("/views", json={"name": "x", "content": {}}).status_code == 403
    cookie = next(iter(browser.cookies.jar))
    assert cookie.has_nonstandard_attr("HttpOnly")
    assert (
        "samesite=strict"
        in str(browser.post("/session", json={"name": "annotator", "password": PASSWORD}).headers).lower()
    )


def test_tokens_of_scripts(url: str) -> None:
    browser = client(url, "annotator")
    token = browser.post("/me/tokens", json={"name": "night"}).json()["token"]
    script = {"Authorization": f"Bearer {token}"}
    assert httpx.get(f"{url}/api/v1/studies", headers=script).status_code == 200
    (entry,) = [t for t in browser.get("/me/tokens").json() if t["name"] == "night"]
    assert token not in str(browser.get("/me/tokens").json())
    browser.delete(f"/me/tokens/{entry['id']}")
    assert httpx.get(f"{url}/api/v1/studies", headers=script).status_code == 401


def test_headers_of_every_answer(url: str) -> None:
    for path in ("/api/v1/health", "/api/v1/studies", "/"):
        headers = httpx.get(url + path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "default-src 'self'" in headers["content-security-policy"]


def test_first_start_and_no_open_door(tmp_path_factory: pytest.TempPathFactory) -> None:
    from sarcoscope.errors import SettingError

    one = Store.open(tmp_path_factory.mktemp("first") / "data")
    made = first_start(one.database)
    assert made is not None
    assert len(made[1]) >= 16
    assert first_start(one.database) is None
    one.close()
    with pytest.raises(SettingError, match="TLS"):
        Listening("0.0.0.0")
    assert Listening("0.0.0.0", behind_proxy=True).url.startswith("http://0.0.0.0")


def _zip(*entries: tuple[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return out.getvalue()


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "bomb.zip": (lambda: _zip(("a", b"\0" * 300_000_000)), "more than a CT study"),
    "out.zip": (lambda: _zip(("../../../etc/passwd", b"x"), ("/tmp/y", b"y")), "No DICOM"),
    "cut.zip": (lambda: _zip(("a", b"abc" * 99))[:-30], "damaged"),
    "nothing.dcm": (lambda: b"", "No DICOM"),
    "page.html": (lambda: b"<html></html>", "No DICOM"),
    "../../../x.dcm": (lambda: b"\0" * 128 + b"DICM" + b"\xff" * 50, ""),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_uploads(store: Store, url: str, name: str) -> None:
    content, said = HOSTILE[name][0](), HOSTILE[name][1]
    before = sorted(
        p for p in store.data.parent.rglob("*") if "incoming" not in str(p) and "sqlite" not in p.name
    )
    found = upload(client(url, "annotator"), content, name=name)
    assert said in found["error"]
    assert found["state"] == "failed" or found["report"]["images"] == 0
    assert list((store.data / "incoming").glob(f"{found['id']}*")) == []
    after = sorted(
        p for p in store.data.parent.rglob("*") if "incoming" not in str(p) and "sqlite" not in p.name
    )
    assert before == after


def test_a_part_is_at_most_so_large(url: str) -> None:
    browser = client(url, "annotator")
    number = browser.post("/uploads", json={"project": "liver", "centre": "here"}).json()["id"]
    answer = browser.put(
        f"/uploads/{number}/files", params={"name": "a"}, content=b"x" * (64 * 1024 * 1024 + 1)
    )
    assert answer.status_code == 413


def fuzz_api(url: str, token: str, examples: int) -> int:
    """Requests drawn from the OpenAPI document; returns how many were sent. No answer may be a 5xx."""
    schema = schemathesis.openapi.from_url(f"{url}{API}/openapi.json")
    sent = 0
    for operation in schema.get_all_operations():
        one = operation.ok()
        if one.label in ("DELETE /api/v1/session", "PUT /api/v1/me/password"):
            continue

        @settings(
            max_examples=examples, database=None, deadline=None, derandomize=True,
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        def check(case: schemathesis.Case) -> None:
            nonlocal sent
            answer = case.call(headers={"Authorization": f"Bearer {token}"})
            sent += 1
            assert answer.status_code < 500 or answer.status_code == 503, (
                case.as_curl_command(),
                answer.text,
            )

        schemathesis_given(one)(check)()
    return sent


def schemathesis_given(operation: schemathesis.APIOperation):  # type: ignore[no-untyped-def, type-arg]
    """Cases of one operation, valid and invalid."""
    from hypothesis import given
    from hypothesis import strategies as st

    modes = schemathesis.GenerationMode
    strategy = st.one_of(
        operation.as_strategy(generation_mode=modes.POSITIVE),
        operation.as_strategy(generation_mode=modes.NEGATIVE),
    )
    return given(case=strategy)


@pytest.mark.filterwarnings("ignore")
def test_no_request_makes_the_server_fail(url: str) -> None:
    """`python -m tests.soak api` sends more of them."""
    token = client(url, "root").post("/me/tokens", json={"name": "fuzz"}).json()["token"]
    assert fuzz_api(url, token, 4) > 150
