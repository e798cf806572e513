"""The published method: its loss, its descent, the spline as a Keras layer."""
