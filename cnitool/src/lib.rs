//! Runs CNI networks from the command line.
