"""What plug-in authors test with: the contract's suites, ends in memory, faults, a clock, odd mail."""
