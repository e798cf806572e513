"""Fields with truth: optical exposures, γ-ray patches, real frames to compare with."""
