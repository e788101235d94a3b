"""Training over several devices: one process each, gradients averaged by Lightning's DDP strategy."""
