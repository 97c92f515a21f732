"""DTSNet in JAX: industrial anomaly detection by reverse distillation with two teachers."""
