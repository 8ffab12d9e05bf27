"""Studies of papers on membership inference and watermarks."""
