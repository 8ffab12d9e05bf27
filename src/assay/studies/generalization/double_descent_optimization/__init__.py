"""Understanding the Role of Optimization in Double Descent (Liu and Flanigan, 2023)."""
