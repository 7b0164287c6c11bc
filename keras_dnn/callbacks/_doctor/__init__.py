"""What the doctor records, checks and draws."""
