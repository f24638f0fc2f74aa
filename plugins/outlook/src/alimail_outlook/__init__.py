"""Alibaba Mail in Outlook: the COM add-in on one machine and on thousands, and an Office add-in for new Outlook."""
