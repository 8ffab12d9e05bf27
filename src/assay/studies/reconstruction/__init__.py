"""Studies of the reconstruction room."""
