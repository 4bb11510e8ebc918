"""moe-tiny: a small phimoe, its corpus of code and plans, and what its experts learn."""
