"""The route of a model card: one page for people, in the form that they ask for.

The rule: HTML unless Markdown is wanted more, and with the headers of ``/docs``: the card holds the owner's words, and
nothing in it may run or fetch. The card itself is made in ``modelyard.card``, which is imported when somebody asks for
one; it needs numpy, and that would make every start of this function a tenth of a second longer.
"""

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from modelyard.control.openapi import problems
from modelyard.control.page import PAGE_HEADERS
from modelyard.control.services import NO_QUERY, AsCaller, ModelName, VersionNumber
from modelyard.times import stamp, utc_now

router = APIRouter(tags=["Look"], dependencies=NO_QUERY, redirect_slashes=False)

HTML, MARKDOWN = "text/html", "text/markdown"
CARD_HEADERS = {**PAGE_HEADERS, "vary": "accept"}


@router.get(
    "/models/{name}/versions/{number}/card",
    operation_id="show_card",
    summary="Show a version's model card",
    response_class=HTMLResponse,
    responses={
        200: {
            "description": "The card.",
            "content": {HTML: {"schema": {"type": "string"}}, MARKDOWN: {"schema": {"type": "string"}}},
        },
        **problems({404: "`not_found`: there is no such model or version."}),
    },
)
def show_card(registry: AsCaller, name: ModelName, number: VersionNumber, request: Request) -> Response:
    """A version in plain words: what it answers, how good it is, where it comes from, its limits.

    One HTML file without scripts, or Markdown with the header `accept: text/markdown`. The owner's notes are part of
    it.
    """
    from modelyard.card import card_of, gather, to_html, to_markdown  # see above

    card = card_of(gather(registry, registry.version(name, number), at=stamp(utc_now())))
    accept = ",".join(request.headers.getlist("accept"))
    if wanted(accept, MARKDOWN) > wanted(accept, HTML):
        return Response(to_markdown(card), media_type=MARKDOWN, headers=CARD_HEADERS)
    return HTMLResponse(to_html(card), headers=CARD_HEADERS)


def wanted(accept: str, kind: str) -> float:
    """How much an Accept header wants a content type, from 0 to 1 (RFC 9110, section 12.5.1).

    The range that names it most closely decides; one whose weight cannot be read counts as 0.

    Example:
        >>> wanted("text/markdown, text/*;q=0.5", "text/markdown"), wanted("text/markdown, text/*;q=0.5", "text/html")
        (1.0, 0.5)
    """
    weights: dict[str, float] = {}
    for part in accept.lower().split(","):
        named, *parameters = (piece.strip() for piece in part.split(";"))
        given = [value for key, _, value in (parameter.partition("=") for parameter in parameters) if key == "q"]
        weights[named] = _weight(given[0]) if given else 1.0
    ranges = (kind, f"{kind.partition('/')[0]}/*", "*/*")
    return next((weights[named] for named in ranges if named in weights), 0.0)


def _weight(text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        return 0.0
    return weight if 0 <= weight <= 1 else 0.0
