//! Against a real etcd.

mod bed;
mod membership;
mod tls;
mod watching;
