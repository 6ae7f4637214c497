//! A small container runtime: it attaches a container to a network of one plugin (`plugin.rs` beside this file), checks
//! it, shows what is remembered of it, and detaches it.
//!
//! ```console
//! $ cargo build -p libcni --examples && target/debug/examples/runtime
//! ```
//!
//! A real runtime makes a network namespace and gives its path; this plugin never opens it, so any path will do, and
//! neither root nor a kernel feature is needed.

use std::error::Error;
use std::io::Write;

use libcni::runtime::{Attachment, NetworkList, Runtime};
use libcni::types::AttachmentId;

const NETWORK: &str = r#"{
    "cniVersion": "1.1.0",
    "name": "demo",
    "plugins": [
        {"type": "plugin", "routes": [{"dst": "10.9.0.0/16", "gw": "10.1.0.1"}]},
        {"type": "plugin", "routes": [{"dst": "fd00::/8"}], "capabilities": {"aliases": true}}
    ]
}"#;

fn main() -> Result<(), Box<dyn Error>> {
    let program = std::env::current_exe()?;
    let plugins = program.parent().ok_or("a program lies in a directory")?;
    let cache = std::env::temp_dir().join(format!("cni-example-{}", std::process::id()));
    let runtime = Runtime::new([plugins]).with_cache_dir(&cache);
    let outcome = attach_and_detach(&runtime, &mut std::io::stdout());
    std::fs::remove_dir_all(&cache)?;
    outcome
}

fn attach_and_detach(runtime: &Runtime, out: &mut dyn Write) -> Result<(), Box<dyn Error>> {
    let network = NetworkList::from_bytes(NETWORK.as_bytes())?;
    runtime.validate(&network)?;
    runtime.status(&network)?;

    let id = AttachmentId { container_id: "blue".parse()?, ifname: "eth0".parse()? };
    let attachment = Attachment::new(id, "/run/netns/blue");
    let added = runtime.add(&network, &attachment)?;
    writeln!(out, "ADD gave {} routes:\n{}", added.result.routes.len(), libcni::json::pretty(&added.wire))?;

    runtime.check(&network, &attachment)?;
    for cached in runtime.cache.attachments()?.attachments {
        writeln!(out, "CHECK found {} of network {} as it was made", cached.attachment.id, cached.network)?;
    }

    runtime.del(&network, &attachment)?;
    writeln!(out, "DEL left {} attachments", runtime.cache.attachments()?.attachments.len())?;
    Ok(())
}
