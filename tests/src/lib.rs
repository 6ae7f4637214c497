//! Namespace tests, conformance and benchmarks.
