"""Attacked networks and the attack on them, shared by the studies of reconstruction."""
