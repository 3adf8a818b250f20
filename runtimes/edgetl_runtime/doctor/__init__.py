"""What this machine is and what is wrong with it for inspection; each finding with the command that mends it."""
