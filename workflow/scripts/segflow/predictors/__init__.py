"""From members' probabilities to what a predictor says, of the run's cases and of new ones."""
