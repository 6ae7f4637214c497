//! The executable `tuning`.
fn main() -> std::process::ExitCode {
    libcni::plugin::main(&tuning::Tuning)
}
