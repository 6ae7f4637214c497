//! The executable `macvlan`.
fn main() -> std::process::ExitCode {
    libcni::plugin::main(&macvlan::Macvlan)
}
