"""What runs a network, and the one way to do so: filters, evaluation, demo and the validation of training use it."""
