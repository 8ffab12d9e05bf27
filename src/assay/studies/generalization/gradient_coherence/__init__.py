"""On the Generalization Mystery in Deep Learning (Chatterjee and Zielinski, 2022)."""
