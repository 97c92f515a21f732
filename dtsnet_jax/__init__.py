"""DTSNet in JAX: industrial anomaly detection by reverse distillation with two teachers.

``from dtsnet_jax import Detector`` loads what was trained and scores photographs with it.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dtsnet_jax.prediction.detector import Detector
    from dtsnet_jax.prediction.prediction import Prediction

__all__ = ["Detector", "Prediction"]


def __getattr__(name: str) -> Any:
    """Imports JAX only when it is needed."""
    if name == "Detector":
        from dtsnet_jax.prediction.detector import Detector

        return Detector
    if name == "Prediction":
        from dtsnet_jax.prediction.prediction import Prediction

        return Prediction
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
