"""What an optimizer is given: parameters in trees and groups, hyperparameters, step counts."""
