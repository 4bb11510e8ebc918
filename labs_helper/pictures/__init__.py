"""Pictures and clips: opening them safely, cutting them for the model, and the course's own."""
