//! The executable `vxlan-delegate`.
fn main() -> std::process::ExitCode {
    libcni::plugin::main(&vxlan_delegate::VxlanDelegate)
}
