//! The kernel's network stack.
