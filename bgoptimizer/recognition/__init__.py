"""Where objects are: a small network looks at the cells of all channels on every scale."""
