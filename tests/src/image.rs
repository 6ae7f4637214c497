//! A container image made of one static program, since there is no registry here.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

/// What the image is called.
pub const IMAGE: &str = "localhost/box:1";

/// A server on port 80, both families, whose page is the name of its host.
pub const SERVE: [&str; 4] = [
    "/bin/busybox",
    "sh",
    "-c",
    "b=/bin/busybox; $b mkdir -p /www && $b hostname >/www/index.html && exec $b httpd -f -p 80 -h /www",
];

/// Writes the image to a file as `docker save` would, and tells where.
///
/// # Panics
/// If it cannot be written, or without busybox-static.
#[must_use]
pub fn make(dir: &Path) -> PathBuf {
    let (tree, root) = (dir.join("image"), dir.join("image.root"));
    for name in ["bin", "proc", "sys", "dev", "etc", "tmp", "www"] {
        std::fs::create_dir_all(root.join(name)).expect("the image's root");
    }
    std::fs::create_dir_all(&tree).expect("the image's directory");
    std::fs::copy("/bin/busybox", root.join("bin/busybox")).expect("busybox-static");
    let layer = tree.join("layer.tar");
    tar(&root, &layer, &["."]);
    let digest = Command::new("sha256sum").arg(&layer).output().expect("sha256sum").stdout;
    let digest = String::from_utf8_lossy(&digest).split(' ').next().expect("a digest").to_owned();
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let config = json!({
        "architecture": architecture,
        "os": "linux",
        "config": {"Entrypoint": ["/bin/busybox", "sleep", "2147483647"], "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{digest}")]},
    });
    write(&tree.join("config.json"), &config);
    write(
        &tree.join("manifest.json"),
        &json!([{"Config": "config.json", "RepoTags": [IMAGE], "Layers": ["layer.tar"]}]),
    );
    let image = dir.join("image.tar");
    tar(&tree, &image, &["manifest.json", "config.json", "layer.tar"]);
    image
}

fn tar(dir: &Path, archive: &Path, files: &[&str]) {
    let status = Command::new("tar").arg("-C").arg(dir).arg("-cf").arg(archive).args(files).status();
    assert!(status.expect("tar").success(), "tar {}", archive.display());
}

fn write(path: &Path, value: &Value) {
    libcni::store::write_atomic(path, value.to_string().as_bytes(), 0o644).expect("a file of the image");
}
