"""Work that one machine is too small for, placed on a Ray cluster, and what that brings."""
