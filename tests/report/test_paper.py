"""The paper's figures."""

import numpy as np
import pytest

from configs import mvtec
from dtsnet_jax.config import rows_of
from dtsnet_jax.report.paper import paper_figures


def test_the_paper_has_figures_for_every_row_of_its_tables():
    for table in ("table_1", "table_3", "table_4", "table_5", "table_6"):
        for row, config in rows_of(mvtec.get_config(table)).items():
            assert config.variant == row
            figures = paper_figures("mvtec_ad", row)
            assert 0.8 < figures["mean"]["image_auroc"] <= 1
    whole = paper_figures("mvtec_ad", "paper")
    assert set(whole) == {*mvtec.EPOCHS, "mean"}
    for name in whole["mean"]:
        mean = np.mean([whole[category][name] for category in mvtec.EPOCHS])
        assert mean == pytest.approx(whole["mean"][name], abs=6e-4)
    assert paper_figures("folder", "paper") == {}
