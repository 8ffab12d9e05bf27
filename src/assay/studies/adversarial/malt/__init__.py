"""MALT Powers Up Adversarial Attacks (Melamed, Yehudai, Shamir, 2024)."""
