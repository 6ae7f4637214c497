//! The executable `portmap`.
fn main() -> std::process::ExitCode {
    libcni::plugin::main(&portmap::Portmap)
}
