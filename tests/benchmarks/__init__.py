"""The benchmarks: ours and what users would pick instead, measured side by side in one run."""
