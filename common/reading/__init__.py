"""What a file leaves open, decided in one place each, and the lines that say so."""
