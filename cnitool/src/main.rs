fn main() -> std::process::ExitCode {
    cnitool::main()
}
