//! The executable `sbr`.
fn main() -> std::process::ExitCode {
    libcni::plugin::main(&sbr::Sbr)
}
