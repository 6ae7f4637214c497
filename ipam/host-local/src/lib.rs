//! The CNI plugin host-local: assigns addresses from ranges, kept in files on this host.
