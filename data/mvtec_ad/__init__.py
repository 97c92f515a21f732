"""MVTec AD (Bergmann et al., CVPR 2019): CC BY-NC-SA 4.0, non-commercial."""
