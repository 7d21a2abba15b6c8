"""Plans, preprocessing, training and prediction of one model."""
