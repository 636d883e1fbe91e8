"""`raywce profile`: real steps on the cluster at hand, where their time goes, and what the whole search will take."""
