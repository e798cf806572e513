"""Take the noise out of a picture and keep its light: sky, nebulae, halos and stars."""
