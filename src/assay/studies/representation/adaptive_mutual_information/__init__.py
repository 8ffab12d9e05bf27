"""Adaptive Estimators Show Information Compression in Deep Neural Networks (Chelombiev, Houghton, O'Donnell, 2019)."""
