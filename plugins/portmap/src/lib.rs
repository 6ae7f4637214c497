//! The CNI plugin portmap: publishes container ports on the host.
