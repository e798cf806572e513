"""The live pages of `bgrem`: what each command shows and does there."""
