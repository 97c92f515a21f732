"""The page for people."""

from collections.abc import Sequence
from pathlib import Path

import jinja2

from dtsnet_jax.report.document import TEMPLATES

STATIC = Path(__file__).parent / "static"
REPORT_STYLE = Path(__file__).parents[1] / "report" / "style.css"
PAGE_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'",
}
# The reports' base, and what it is filled with here.
_TEMPLATES = TEMPLATES.overlay(
    loader=jinja2.FileSystemLoader([Path(__file__).parent, REPORT_STYLE.parent])
)


def render_page(names: Sequence[str]) -> str:
    """The page as HTML.

    Args:
      names: of the detectors.
    """
    return _TEMPLATES.get_template("inspection.html").render(title="Inspection", names=names)
