"""A sheet of pictures in rows and columns, with a title above each column."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

CELL = 144  # pixels
GAP = 6
TITLE_HEIGHT = 26


def contact_sheet(titles: Sequence[str], rows: Sequence[Sequence[np.ndarray | str]]) -> Image.Image:
    """Draws the sheet.

    Args:
      titles: one a column.
      rows: one a sample; a cell is (h, w, 3) uint8, (h, w) bool, or a text.
    """
    step = CELL + GAP
    sheet = Image.new(
        "RGB", (len(titles) * step + GAP, TITLE_HEIGHT + len(rows) * step), "lightgray"
    )
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(15)
    for column, title in enumerate(titles):
        centre = (GAP + column * step + CELL // 2, TITLE_HEIGHT // 2)
        draw.text(centre, title, "black", font, anchor="mm")
        for row, cells in enumerate(rows):
            corner = (GAP + column * step, TITLE_HEIGHT + row * step)
            cell = cells[column]
            if isinstance(cell, str):
                draw.text((centre[0], corner[1] + CELL // 2), cell, "black", font, anchor="mm")
            else:
                picture = Image.fromarray(cell).convert("RGB").resize((CELL, CELL))
                sheet.paste(picture, corner)
    return sheet
