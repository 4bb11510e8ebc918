"""How the bundled checkpoints are made and measured. The course itself runs without this package or torch."""
