//! The executable `dummy`.
fn main() -> std::process::ExitCode {
    libcni::plugin::main(&dummy::Dummy)
}
