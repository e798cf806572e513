"""What a picture is made of: its level and noise, whether it is linear, and what is kept of it."""
