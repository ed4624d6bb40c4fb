"""The input of an optimizer: parameters in trees and groups, hyperparameters, step counts."""
