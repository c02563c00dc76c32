"""What the real libraries compute, for the parity suite."""
