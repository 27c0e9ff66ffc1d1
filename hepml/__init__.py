"""From ROOT ntuples to an honest comparison of neural networks with a cut-based selection."""

__version__ = "0.1.0"
