"""Tables that show what drivers are worth, each made again by one command."""
