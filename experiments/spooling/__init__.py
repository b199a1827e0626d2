"""What is logged on its way to the run store: kept on disk until the store has it."""
