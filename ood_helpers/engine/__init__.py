"""What the core runs on: fast kernels, architectures, the optimizer, history, devices and files."""
