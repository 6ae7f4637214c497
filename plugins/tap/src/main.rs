//! The executable `tap`.
fn main() -> std::process::ExitCode {
    libcni::plugin::main(&tap::TapPlugin)
}
