"""BTAD (Mishra et al., ISIE 2021): CC BY-NC-SA 4.0, non-commercial."""
