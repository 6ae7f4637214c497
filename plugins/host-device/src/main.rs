//! The executable `host-device`.
fn main() -> std::process::ExitCode {
    libcni::plugin::main(&host_device::HostDevice)
}
