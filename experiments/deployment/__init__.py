"""Export of drivers to other programs, checked and timed."""
