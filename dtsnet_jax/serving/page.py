"""The page for people."""

from collections.abc import Sequence
from pathlib import Path

import jinja2

STATIC = Path(__file__).parent / "static"
REPORT_STYLE = Path(__file__).parents[1] / "report" / "style.css"
PAGE_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'",
}
_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
)


def render_page(names: Sequence[str]) -> str:
    """The page as HTML.

    Args:
      names: of the detectors.
    """
    return _ENVIRONMENT.get_template("page.html").render(names=names)
