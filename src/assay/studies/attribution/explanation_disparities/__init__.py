"""Understanding Disparities in Post Hoc Machine Learning Explanation (Mhasawade et al., 2024)."""
