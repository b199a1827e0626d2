"""Recordings of a DonkeyCar simulator, and how they compare with the embedded one."""
