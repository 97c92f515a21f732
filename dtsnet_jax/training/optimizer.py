"""Adam with the paper's two learning rates."""

import jax
import optax


def build_optimizer(
    *, learning_rate: float, reconstruction_learning_rate: float
) -> optax.GradientTransformation:
    """Adam (β 0.5 and 0.999, ε 1e-8, no weight decay), as in the paper's section on training.

    Args:
      learning_rate: for bottleneck and decoder.
      reconstruction_learning_rate: for the APR convolutions R.
    """

    def label(params):
        return jax.tree_util.tree_map_with_path(
            lambda path, _: "reconstruction" if path[0].key == "reconstruction" else "student",
            params,
        )

    return optax.partition(
        {
            "student": optax.adam(learning_rate, b1=0.5, b2=0.999),
            "reconstruction": optax.adam(reconstruction_learning_rate, b1=0.5, b2=0.999),
        },
        label,
    )
