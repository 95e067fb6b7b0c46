"""The compiled brain: functions over arrays of integers, the same ones in every mode."""
