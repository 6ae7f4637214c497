//! Faults: what happens if the kernel refuses, or the plugin is killed.

use crate::{Invocation, Node, Output};

impl Invocation {
    /// Runs it on the host of `node` so that its request number `which` to the kernel (system calls `syscalls`, each
    /// process and each name counted for itself) meets `fault`: `error=ENOBUFS`, or `signal=KILL`, before which the request is not made. And whether
    /// it made so many.
    ///
    /// # Panics
    /// If strace does not run.
    #[must_use]
    pub fn with_fault(self, node: &Node, syscalls: &str, fault: &str, which: usize) -> (Output, bool) {
        let trace = node.dir().join("trace");
        let log = trace.to_str().expect("UTF-8");
        let (filter, inject) = (format!("trace={syscalls}"), format!("inject={syscalls}:{fault}:when={which}"));
        let wrapper = ["strace", "-f", "-qq", "-o", log, "-e", &filter, "-e", &inject];
        let output = self.wrapped_in(&wrapper).run(&node.host);
        let traced = std::fs::read_to_string(&trace).expect("what strace wrote");
        (output, traced.contains("(INJECTED)") || traced.contains("killed by"))
    }
}
