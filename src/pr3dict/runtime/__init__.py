"""The shell around the brain: puts tapes, config and kernels together and runs them."""
