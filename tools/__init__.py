"""What writes generated files; not part of the package."""
