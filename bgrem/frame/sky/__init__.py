"""Parts of a smooth background: steps of the level, a surface that follows waves."""
