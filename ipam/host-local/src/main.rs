//! The program `host-local`.

fn main() -> std::process::ExitCode {
    libcni::plugin::main(&host_local::HostLocal)
}
