"""Files of others that are no images: read so that every value is checked before it is used."""
