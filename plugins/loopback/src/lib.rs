//! The CNI plugin loopback: brings up lo in the container.
