"""What `Doctor` records, stores and draws."""
