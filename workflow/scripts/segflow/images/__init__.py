"""Reading, writing and preparing images, label maps and probabilities."""
