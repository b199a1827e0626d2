"""Learning to drive from somebody who can."""
