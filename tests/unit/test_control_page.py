"""The OpenAPI document and the page made of it: complete, true, and readable without a network."""

import re
from html import escape
from html.parser import HTMLParser

import pytest
from pydantic import BaseModel

from modelyard.control import answers, bodies
from modelyard.control.openapi import openapi_document
from modelyard.control.page import docs_page, example_of
from tests.fakes.control import MODEL, ControlStand

VOID = {"meta", "link", "wbr", "br"}
FORMS = {"show_card": ["text/html", "text/markdown"]}
"""What is not answered as JSON."""


@pytest.fixture(scope="module")
def stand() -> ControlStand:
    return ControlStand()


@pytest.fixture(scope="module")
def document(stand: ControlStand) -> dict:
    return stand.get("/openapi.json").body


@pytest.fixture(scope="module")
def page(stand: ControlStand) -> str:
    answer = stand.get("/docs")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    return answer.text


def operations(document: dict) -> list[dict]:
    return [operation for path in document["paths"].values() for operation in path.values()]


def test_every_operation_is_described_and_has_a_name_of_its_own(document: dict) -> None:
    found = operations(document)
    assert len({operation["operationId"] for operation in found}) == len(found)
    tags = {tag["name"] for tag in document["tags"]}
    for operation in found:
        assert operation["summary"]
        assert operation["description"]
        assert set(operation["tags"]) <= tags


def test_every_error_is_promised_as_the_problem_that_is_sent(document: dict) -> None:
    for operation in operations(document):
        assert "default" in operation["responses"]
        for status, response in operation["responses"].items():
            given = FORMS.get(operation["operationId"], ["application/json"])
            kinds = given if status.startswith("2") else ["application/problem+json"]
            assert [*response["content"]] == kinds
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_every_parameter_and_every_field_of_a_body_says_what_it_is(document: dict) -> None:
    for operation in operations(document):
        assert all(parameter.get("description") for parameter in operation.get("parameters", ()))
    for name in ("UploadBody", "RegisterBody", "PromoteBody", "RollbackBody", "NotesBody"):
        schema = document["components"]["schemas"][name]
        assert all(part.get("description") for part in schema["properties"].values()), name
        assert schema["additionalProperties"] is False


@pytest.mark.parametrize(
    "model",
    [
        *(bodies.UploadBody, bodies.RegisterBody, bodies.PromoteBody, bodies.RollbackBody, bodies.NotesBody),
        *(answers.Models, answers.Model, answers.Versions, answers.Version, answers.Deployment, answers.History),
        *(answers.Runs, answers.Upload, answers.Registered, answers.FileVersions, answers.Notes, answers.Problem),
    ],
)
def test_an_example_is_one(document: dict, model: type[BaseModel]) -> None:
    example = example_of(document["components"]["schemas"][model.__name__], document)
    assert model.model_validate(example)
    assert set(example) == set(model.model_fields)


def test_the_document_says_that_requests_are_signed(document: dict) -> None:
    assert document["security"] == [{"sigv4": []}]
    assert document["components"]["securitySchemes"]["sigv4"]["x-amazon-apigateway-authtype"] == "awsSigv4"


class Elements(HTMLParser):
    """Tags in order, with a check that each is closed where it should be."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_loads_nothing(page: str, stand: ControlStand) -> None:
    seen = Elements(page).seen
    assert {tag for tag, _ in seen}.isdisjoint({"script", "img", "iframe", "object", "form"})
    links = [value for _, attributes in seen for key, value in attributes.items() if key in ("src", "href")]
    assert all(link and link.startswith(("#", "data:")) for link in links)
    assert not re.search(r"url\(|@import|https?://(?!example)", page)
    policy = stand.get("/docs").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy


def test_the_page_shows_every_operation_and_links_to_each(page: str, document: dict) -> None:
    seen = Elements(page).seen
    places = {attributes["id"] for _, attributes in seen if "id" in attributes}
    links = {str(attributes["href"])[1:] for tag, attributes in seen if tag == "a"}
    assert links == places == {operation["operationId"] for operation in operations(document)} | {"problem"}
    for operation in operations(document):
        assert escape(operation["summary"]) in page


def test_the_page_is_made_for_a_phone_too(page: str) -> None:
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in page
    assert "@media (max-width" in page


def test_what_stands_in_the_document_cannot_become_markup(stand: ControlStand) -> None:
    hostile = openapi_document(stand.app.routes)
    hostile["info"]["title"] = "<script>alert(1)</script>"
    hostile["paths"]["/models"]["get"]["summary"] = '"><img src=x>'
    hostile["paths"]["/models"]["get"]["description"] = "`<b>` <i>"
    shown = docs_page(hostile)
    Elements(shown)
    assert "<script" not in shown
    assert "<img" not in shown
    assert "<i>" not in shown


def test_documented_statuses_are_the_ones_that_are_sent(stand: ControlStand, document: dict) -> None:
    stand = ControlStand(require_reason=True).with_versions(1)
    promote = document["paths"]["/models/{name}/promote"]["post"]["responses"]
    sent = {stand.promote(1), stand.promote(9, reason="x"), stand.promote(1, reason="x"), stand.promote(1, reason="x")}
    assert {str(answer.status) for answer in sent} == {"200", "400", "404", "409"} <= set(promote)
    register = document["paths"]["/models/{name}/versions"]["post"]["responses"]
    assert {str(stand.register().status), str(stand.register().status)} == {"200", "201"} <= set(register)
    assert stand.post(f"/models/{MODEL}/versions", {"sha256": "0" * 64, "task": "binary"}).status == 404
