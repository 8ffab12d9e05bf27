"""What several studies of reconstruction share: the attacked networks, and the attack on them."""
