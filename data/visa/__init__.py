"""VisA (Zou et al., ECCV 2022): CC BY 4.0 by its authors' page, CC BY-NC-SA 4.0 by others."""
