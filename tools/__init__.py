"""What is for developers and visitors of the repository, and belongs to no distribution."""
