//! All Ferrule plugins in one executable.
