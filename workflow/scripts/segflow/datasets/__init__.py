"""From published files to checked, divided cases."""
