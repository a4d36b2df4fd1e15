"""What carries the science and knows nothing of it: devices, compiling, processes, files, progress."""
