//! The executable `ipvlan`.
fn main() -> std::process::ExitCode {
    libcni::plugin::main(&ipvlan::Ipvlan)
}
