"""The simulated vehicle: its drives, its messages and when its ECUs send them."""
