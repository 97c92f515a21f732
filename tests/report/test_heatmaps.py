from pathlib import Path

import numpy as np

from data.catalog import Sample
from dtsnet_jax.report.heatmaps import Picture, write_heatmaps


def test_every_image_has_a_picture_whose_name_any_system_takes(tmp_path):
    found = [("good", "a_2"), ("good", "a"), ("good", "A"), ("good", "a"), ("scratch: deep?", "a")]
    samples = [Sample(Path(f"{stem}.png"), defect) for defect, stem in found]
    picture = Picture(np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.float32), None)
    write_heatmaps(tmp_path, samples, lambda _: picture, np.arange(5.0), (0.0, 1.0))
    names = [path.name for path in tmp_path.iterdir()]
    assert len({name.casefold() for name in names}) == len(samples)
    assert "scratch_ deep__a.png" in names
