"""The trees and tables that images lie in, a module each; ``data.readers`` is the entry."""
