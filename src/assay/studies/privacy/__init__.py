"""Studies of papers on membership inference."""
