//! The program `dhcp`: the plugin, and with the argument `daemon` its daemon.

fn main() -> std::process::ExitCode {
    libcni::plugin::main(&dhcp::Dhcp)
}
