"""Tapes on disk: the documented Parquet format, its reader, its writer and the importers."""
