//! The executable `vrf`.
fn main() -> std::process::ExitCode {
    libcni::plugin::main(&vrf::Vrf)
}
