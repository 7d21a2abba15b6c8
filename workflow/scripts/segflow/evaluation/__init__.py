"""What predictions are worth, case by case and over cases."""
