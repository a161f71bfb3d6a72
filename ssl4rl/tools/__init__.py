"""What people do with tasks and runs."""
