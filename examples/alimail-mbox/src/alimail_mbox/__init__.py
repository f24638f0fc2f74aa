"""Mail that lies on disk, as a source for alimail."""
