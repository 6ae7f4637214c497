//! The CNI plugin bridge: connects containers through a Linux bridge.
