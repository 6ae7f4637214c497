//! The program `static`.

fn main() -> std::process::ExitCode {
    libcni::plugin::main(&static_ipam::Static)
}
