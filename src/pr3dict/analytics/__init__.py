"""What a run was worth: attribution, markouts, metrics and the report, from fills and curves."""
