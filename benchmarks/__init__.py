"""alimail side by side with its peers, on servers of our own: ``make bench``. See ``works`` for what is measured."""
