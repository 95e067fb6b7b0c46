"""What is particular to each venue; venues never import each other."""
