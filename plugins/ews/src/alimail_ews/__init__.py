"""Microsoft Exchange as a source for alimail."""
