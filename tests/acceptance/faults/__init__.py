"""Faults injected for real into real schedulers, and counted with a ledger of the jobs' own."""
