//! The executable `bandwidth`.
fn main() -> std::process::ExitCode {
    libcni::plugin::main(&bandwidth::Bandwidth)
}
