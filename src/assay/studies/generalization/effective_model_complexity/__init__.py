"""Just How Flexible are Neural Networks in Practice? (Shwartz-Ziv, Goldblum, Bansal, Bruss, LeCun, Wilson, 2024)."""
