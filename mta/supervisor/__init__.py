"""Several worker processes behind the same ports: started, watched, started again."""
