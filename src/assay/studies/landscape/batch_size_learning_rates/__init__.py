"""Learning Rates as a Function of Batch Size: A Random Matrix Theory Approach (Granziol, Zohren, Roberts, 2022)."""
