"""The objective that is solved: which blocks are objects, how stiff the surface is."""
