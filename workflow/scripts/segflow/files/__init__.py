"""What is written whole or not at all, hashed and found again."""
