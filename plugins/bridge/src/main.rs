//! The executable `bridge`.
fn main() -> std::process::ExitCode {
    libcni::plugin::main(&bridge::Bridge)
}
