"""What a frame shows before any network runs: background, noise, sources, stars, header, domain."""
