"""What a run shows and leaves behind: one module for each kind of output."""
