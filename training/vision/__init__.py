"""How `vision-tiny` is made: pictures that the project draws, questions about them, and a small phi3_v."""
