"""`raywce prepare`: speech of many forms into parquet, with every rejected row accounted for."""
