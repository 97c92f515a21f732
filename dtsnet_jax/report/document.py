"""HTML files that need nothing beside them."""

import base64
import re
from pathlib import Path

import jinja2

from data.files import write_text

PAGE_FILE = "report.html"
# Control characters, what turns the direction of all text after it, halves of surrogate pairs.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
)


def write_document(path: Path, template: str, **content: object) -> Path:
    """Writes a page, whole or not at all.

    Args:
      path: of the page.
      template: the name of a file beside this one.
      content: what the template shows; all text is escaped, and what cannot be printed, as in names
        of files that are not UTF-8, becomes '�'.

    Returns:
      The page.

    Raises:
      OSError: the disk is full or may not be written to.
    """
    page = TEMPLATES.get_template(template).render(**content)
    write_text(path, _UNPRINTABLE.sub("\ufffd", page))
    return path


def jpeg_uri(jpeg: bytes) -> str:
    """The content of a JPEG file as the address of a picture."""
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
