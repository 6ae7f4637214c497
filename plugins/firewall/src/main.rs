//! The executable `firewall`.
fn main() -> std::process::ExitCode {
    libcni::plugin::main(&firewall::Firewall)
}
