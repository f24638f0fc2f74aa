"""Stand-ins for what Outlook's plug-in is installed from, built and signed by the tests."""
