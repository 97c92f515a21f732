"""The student of DTSNet: bottleneck, decoder and APR, everything that is trained."""

from typing import Literal

import jax
from flax import nnx
from flax.typing import Dtype

from dtsnet_jax.model.apr import AttentionGuidedPerturbationReconstruction
from dtsnet_jax.model.backbones import get_backbone
from dtsnet_jax.model.decoder import Decoder
from dtsnet_jax.model.encoder import Features
from dtsnet_jax.model.fusion import MultiscaleFeatureFusion, ReverseDistillationBottleneck

BOTTLENECKS = {"mff": MultiscaleFeatureFusion, "rd": ReverseDistillationBottleneck}


class Student(nnx.Module):
    """Reads a teacher's features of an image and answers with those of its normal counterpart."""

    def __init__(
        self,
        backbone_name: str,
        *,
        bottleneck: Literal["mff", "rd"],
        reconstruction: bool,
        noise_scale: float,
        temperature: float,
        dtype: Dtype | None = None,
        rngs: nnx.Rngs,
    ):
        """Builds the student with random weights.

        Args:
          backbone_name: a key of ``BACKBONES``.
          bottleneck: 'mff', the paper's feature fusion, or 'rd', the plain one.
          reconstruction: whether APR follows the decoder.
          noise_scale: σ of Eq. 5.
          temperature: τ of Eq. 4.
          dtype: compute dtype; ``None`` computes in the dtype of inputs and weights.
          rngs: where the weights come from.
        """
        backbone = get_backbone(backbone_name)
        self.bottleneck = BOTTLENECKS[bottleneck](backbone, dtype=dtype, rngs=rngs)
        self.decoder = Decoder(backbone, dtype=dtype, rngs=rngs)
        self.reconstruction = (
            AttentionGuidedPerturbationReconstruction(
                backbone,
                noise_scale=noise_scale,
                temperature=temperature,
                dtype=dtype,
                rngs=rngs,
            )
            if reconstruction
            else None
        )

    def __call__(self, teacher: Features, key: jax.Array | None = None) -> Features:
        """Returns f_R (f_S without APR) for the teacher's features of an image.

        Args:
          teacher: f_T of levels 1, 2, 3; of the synthesised image while training.
          key: PRNG key of the perturbation; ``None`` for inference.
        """
        features = self.decoder(self.bottleneck(teacher))
        if self.reconstruction is None:
            return features
        return self.reconstruction(features, teacher, key)
