"""What a configuration asks for, and how far it is."""
