//! What holds for all packages.

use std::fs;
use std::path::Path;
use std::process::Command;

use ferrule_tests::{Binaries, Packages};

use crate::{root, run};

#[test]
fn the_same_binaries_give_the_same_bytes() {
    let Some(binaries) = Packages::contents() else { return };
    // The same files made by somebody else at another time, without hard links.
    let other = tempfile::tempdir_in("/run").unwrap();
    for name in ["bridge", "cnitool", "overlayd"] {
        fs::copy(binaries.plugin(name), other.path().join(name)).unwrap();
    }
    let other = Binaries::at(other.path());
    let sums = |packages: &Packages| fs::read_to_string(packages.dir().join("SHA256SUMS")).unwrap();
    let archives = [&binaries, &other].map(|binaries| Packages::archives(binaries).map(|packages| sums(&packages)));
    assert_eq!(archives[0], archives[1]);
    let (Some(debs), Some(others)) = (Packages::debs(&binaries, "1"), Packages::debs(&other, "1")) else { return };
    assert_eq!(sums(&debs), sums(&others));
    assert_ne!(Some(sums(&debs)), archives[0]);
}

/// A field of a Debian package.
fn field(package: &Path, name: &str) -> String {
    run(Command::new("dpkg-deb").arg("--field").arg(package).arg(name)).trim().to_owned()
}

#[test]
fn debian_packages_are_as_debians_policy_wants_them() {
    let Some(packages) = Packages::contents().and_then(|binaries| Packages::debs(&binaries, "2")) else { return };
    let version = format!("{}-2", env!("CARGO_PKG_VERSION"));
    for name in ["ferrule-cni", "ferrule-overlayd"] {
        let package = packages.named(&format!("{name}_{version}_"));
        assert_eq!(field(&package, "Package"), name);
        assert_eq!(field(&package, "Version"), version);
        assert_eq!(field(&package, "Depends"), "init-system-helpers (>= 1.54)", "the programs are static");
        assert!(field(&package, "Maintainer").contains('@'));
        let description = field(&package, "Description");
        let (synopsis, rest) = description.split_once('\n').unwrap();
        assert!(synopsis.len() <= 80 && !synopsis.ends_with('.'), "{synopsis}");
        assert!(rest.lines().next().unwrap().starts_with(|first: char| first.is_whitespace()), "{rest}");
        let longest = rest.lines().map(str::len).max();
        assert!(longest <= Some(80), "{rest}");

        let files = run(Command::new("dpkg-deb").arg("--contents").arg(&package));
        for file in files.lines() {
            let mode = file.split_whitespace().next().unwrap();
            assert!(file.contains(" 0/0 ") || file.contains(" root/root "), "{file}");
            assert!(["drwxr-xr-x", "-rwxr-xr-x", "-rw-r--r--", "lrwxrwxrwx"].contains(&mode), "{file}");
            assert!([" ./usr", " ./etc"].iter().any(|folder| file.contains(folder)), "{file}");
            assert!(!file.contains("./usr/local"), "{file}");
        }
        for document in ["copyright", "changelog.gz", "changelog.Debian.gz", "THIRD-PARTY-LICENSES.gz"] {
            assert!(files.contains(&format!("./usr/share/doc/{name}/{document}\n")), "{document}: {files}");
        }
        let unpacked = tempfile::tempdir_in("/run").unwrap();
        run(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(unpacked.path()));
        let documents = unpacked.path().join("usr/share/doc").join(name);
        let changes = run(Command::new("zcat").arg(documents.join("changelog.Debian.gz")));
        assert!(changes.starts_with(&format!("{name} ({version}) unstable; urgency=")), "{changes}");
        let upstream = run(Command::new("zcat").arg(documents.join("changelog.gz")));
        assert_eq!(upstream, fs::read_to_string(root().join("CHANGELOG.md")).unwrap());
        let copyrights = [documents.join("copyright"), root().join("deploy/debian/copyright")];
        let copyrights = copyrights.map(|path| fs::read_to_string(path).unwrap());
        assert_eq!(copyrights[0].trim(), copyrights[1].trim());
        units_execute_what_is_there(unpacked.path());
    }
}

/// Of the units in the package below `root`.
fn units_execute_what_is_there(root: &Path) {
    let mut executed = 0;
    for unit in fs::read_dir(root.join("usr/lib/systemd/system")).unwrap() {
        let unit = fs::read_to_string(unit.unwrap().path()).unwrap();
        for line in unit.lines().filter(|line| line.starts_with("Exec") && !line.contains("=/bin/kill ")) {
            let program = line.split(['=', ' ']).nth(1).unwrap();
            assert!(root.join(program.trim_start_matches('/')).exists(), "{line}");
            executed += 1;
        }
    }
    assert!(executed > 0);
}
