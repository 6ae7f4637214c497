//! The executable `loopback`.
fn main() -> std::process::ExitCode {
    libcni::plugin::main(&loopback::Loopback)
}
