"""What stand-ins of several venues share."""
