"""The subcommands of `bgrem`: files in, files out."""
