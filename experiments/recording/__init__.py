"""Recording races that a person or any driver drives."""
