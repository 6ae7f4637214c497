//! The executable `vlan`.
fn main() -> std::process::ExitCode {
    libcni::plugin::main(&vlan::Vlan)
}
