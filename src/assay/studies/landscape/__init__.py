"""Studies of the landscape room."""
