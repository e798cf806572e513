"""Compare the noise of a simulated field with that of a real frame."""
