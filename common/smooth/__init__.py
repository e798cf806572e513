"""Smooth surfaces that both packages need."""
