"""How a job works: its log, workers, devices, leases and limits."""
