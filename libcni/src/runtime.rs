//! What a container runtime does.
