/// musl's own allocator maps and unmaps a page some hundred times while an attachment is made.
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> std::process::ExitCode {
    cnitool::main()
}
