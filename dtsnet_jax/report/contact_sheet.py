"""A sheet of pictures in rows and columns, with a title above each column."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

CELL = 144  # pixels, the longer side
GAP = 6
TITLE_HEIGHT = 26


def contact_sheet(titles: Sequence[str], rows: Sequence[Sequence[np.ndarray | str]]) -> Image.Image:
    """Draws the sheet.

    Args:
      titles: one a column.
      rows: one a sample; a cell is (h, w, 3) uint8, (h, w) bool, or a text.
    """
    size = next(cell.shape[:2] for row in rows for cell in row if not isinstance(cell, str))
    height, width = (round(CELL * side / max(size)) for side in size)
    width = max(width, CELL // 2)  # leaves room for titles
    across, down = width + GAP, height + GAP
    sheet = Image.new(
        "RGB", (len(titles) * across + GAP, TITLE_HEIGHT + len(rows) * down), "lightgray"
    )
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(15)
    for column, title in enumerate(titles):
        centre = (GAP + column * across + width // 2, TITLE_HEIGHT // 2)
        draw.text(centre, title, "black", font, anchor="mm")
        for row, cells in enumerate(rows):
            corner = (GAP + column * across, TITLE_HEIGHT + row * down)
            cell = cells[column]
            if isinstance(cell, str):
                draw.text((centre[0], corner[1] + height // 2), cell, "black", font, anchor="mm")
            else:
                picture = Image.fromarray(cell).convert("RGB").resize((width, height))
                sheet.paste(picture, corner)
    return sheet
