//! All plugins in one executable: it is the plugin whose name it is called by.
fn main() -> std::process::ExitCode {
    libcni::plugin::main_multicall(&[&bridge::Bridge, &host_local::HostLocal, &loopback::Loopback, &portmap::Portmap])
}
