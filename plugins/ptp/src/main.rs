//! The executable `ptp`.
fn main() -> std::process::ExitCode {
    libcni::plugin::main(&ptp::Ptp)
}
