//! iptables for those who ask for it, and for what it left: one `iptables-save` to look, one `iptables-restore`
//! to change, for each address family.
//!
//! A change is computed from what is there ([`Iptables::update`]): shared chains such as POSTROUTING cannot be
//! written without looking. Two processes of ours exclude each other by a lock file; others (the Go plugins,
//! kube-proxy) may change the table between look and change, in which case the whole change fails, has done nothing,
//! and is computed again.

mod rules;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use libcni::store::{self, Lock, StoreError};

pub use rules::{Batch, Rule, Table};

/// The lock of all our processes on this host, held from look to change.
pub const LOCK: &str = "/run/ferrule/iptables.lock";

/// Where programs are sought after `PATH`, which of a daemon often lacks the sbin directories.
const SBIN: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// How often a change is computed anew when others got in between.
const ATTEMPTS: u32 = 5;

/// Why iptables did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum IptablesError {
    /// The program is nowhere in `PATH`, nor in the sbin directories.
    #[error("cannot find {program}; hint: install iptables, or choose the nftables backend")]
    Missing {
        /// Its name.
        program: String,
    },
    /// The program cannot be run.
    #[error("cannot run {}", program.display())]
    Run {
        /// Its path.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The program failed; nothing was changed.
    #[error("{} failed ({status}): {stderr}", program.display())]
    Failed {
        /// Its path.
        program: PathBuf,
        /// How it ended.
        status: ExitStatus,
        /// What it said.
        stderr: String,
    },
    /// The lock cannot be had.
    #[error("cannot lock iptables against other plugins")]
    Lock(#[source] StoreError),
}

/// The address family that a table is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4: `iptables`.
    V4,
    /// IPv6: `ip6tables`.
    V6,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// The family of `address`.
    #[must_use]
    pub fn of(address: std::net::IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    fn program(self) -> &'static str {
        match self {
            Self::V4 => "iptables",
            Self::V6 => "ip6tables",
        }
    }
}

/// Which of the two implementations that may be installed side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Variant {
    /// What the host calls `iptables`: for making rules.
    Default,
    /// `iptables-nft`, whose rules stand in nftables; the default where there is none of that name.
    Nft,
    /// `iptables-legacy`, whose tables nothing else sees; the default where there is none of that name.
    Legacy,
}

/// The iptables programs of a host.
#[derive(Clone, Debug)]
pub struct Iptables {
    directories: Vec<PathBuf>,
    lock: PathBuf,
}

impl Iptables {
    /// Those found by `PATH` and in the sbin directories, under the host's lock.
    #[must_use]
    pub fn of_host() -> Self {
        let path = std::env::var_os("PATH").unwrap_or_default();
        Self::new(std::env::split_paths(&path).chain(SBIN.map(PathBuf::from)), LOCK)
    }

    /// Those found in `directories`, first one first, under the lock file at `lock`.
    pub fn new(directories: impl IntoIterator<Item = PathBuf>, lock: impl Into<PathBuf>) -> Self {
        Self { directories: directories.into_iter().collect(), lock: lock.into() }
    }

    /// The same programs under another lock file.
    #[must_use]
    pub fn with_lock(self, lock: impl Into<PathBuf>) -> Self {
        Self { lock: lock.into(), ..self }
    }

    /// Whether this variant can be used for `family`: its `-save` and `-restore` are there. Runs nothing.
    #[must_use]
    pub fn is_installed(&self, variant: Variant, family: Family) -> bool {
        ["save", "restore"].iter().all(|action| self.find(variant, family, action).is_ok())
    }

    /// What `table` holds (`iptables-save -t TABLE`).
    ///
    /// # Errors
    /// [`IptablesError`].
    pub fn list(&self, variant: Variant, family: Family, table: &str) -> Result<Table, IptablesError> {
        let program = self.find(variant, family, "save")?;
        Ok(Table::parse(&run(&program, &["-t", table], "")?))
    }

    /// Changes `table` by the batch that `plan` makes of what is there, in one transaction
    /// (`iptables-restore --noflush --wait`). An empty batch runs nothing. `plan` is called again if the table
    /// changed meanwhile.
    ///
    /// # Errors
    /// [`IptablesError`]; nothing is changed then.
    pub fn update(
        &self,
        variant: Variant,
        family: Family,
        table: &str,
        mut plan: impl FnMut(&Table) -> Batch,
    ) -> Result<(), IptablesError> {
        let program = self.find(variant, family, "restore")?;
        let _lock = self.lock()?;
        let mut attempt = 1;
        loop {
            let batch = plan(&self.list(variant, family, table)?);
            if batch.is_empty() {
                return Ok(());
            }
            match run(&program, &["--noflush", "--wait"], &batch.text(table)) {
                Err(IptablesError::Failed { .. }) if attempt < ATTEMPTS => attempt += 1,
                done => return done.map(drop),
            }
        }
    }

    /// Whether what the host calls `iptables` writes nf_tables rules, as far as the file that its name leads to tells
    /// (`xtables-nft-multi`). Runs nothing.
    #[must_use]
    pub fn default_is_nft(&self, family: Family) -> bool {
        let program = self.find(Variant::Default, family, "restore").ok().and_then(|path| path.canonicalize().ok());
        program.and_then(|path| Some(path.file_name()?.to_str()?.contains("-nft"))).unwrap_or(false)
    }

    fn lock(&self) -> Result<Lock, IptablesError> {
        if let Some(directory) = self.lock.parent() {
            store::ensure_dir(directory, 0o755).map_err(IptablesError::Lock)?;
        }
        Lock::exclusive(&self.lock).map_err(IptablesError::Lock)
    }

    fn find(&self, variant: Variant, family: Family, action: &str) -> Result<PathBuf, IptablesError> {
        let default = format!("{}-{action}", family.program());
        let special = match variant {
            Variant::Default => None,
            Variant::Nft => Some("nft"),
            Variant::Legacy => Some("legacy"),
        };
        let found = special.and_then(|name| self.find_program(&format!("{}-{name}-{action}", family.program())));
        found.or_else(|| self.find_program(&default)).ok_or(IptablesError::Missing { program: default })
    }

    fn find_program(&self, name: &str) -> Option<PathBuf> {
        self.directories.iter().map(|directory| directory.join(name)).find(|path| path.is_file())
    }
}

/// Whether the legacy iptables has a nat table in the calling thread's namespace: only then can anything be in it.
/// Runs nothing.
#[must_use]
pub fn has_legacy_nat(family: Family) -> bool {
    has_legacy(family, "nat")
}

/// As [`has_legacy_nat`], of any table.
#[must_use]
pub fn has_legacy(family: Family, table: &str) -> bool {
    let names = match family {
        Family::V4 => "/proc/thread-self/net/ip_tables_names",
        Family::V6 => "/proc/thread-self/net/ip6_tables_names",
    };
    // The file is absent where the kernel has no legacy iptables.
    std::fs::read_to_string(names).is_ok_and(|text| text.lines().any(|line| line == table))
}

/// Runs `program` and gives it `input`; what it prints.
fn run(program: &Path, args: &[&str], input: &str) -> Result<String, IptablesError> {
    let fault = |source| IptablesError::Run { program: program.to_owned(), source };
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(fault)?;
    if let Some(mut stdin) = child.stdin.take()
        && let Err(e) = stdin.write_all(input.as_bytes())
        // It gave up before it read all; its stderr says why.
        && e.kind() != io::ErrorKind::BrokenPipe
    {
        // A child that is not waited for becomes a zombie; that it fails too adds nothing.
        let _ = child.kill();
        let _ = child.wait();
        return Err(fault(e));
    }
    let output = child.wait_with_output().map_err(fault)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(IptablesError::Failed { program: program.to_owned(), status: output.status, stderr })
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::os::unix::fs::PermissionsExt;
    use std::sync::{Mutex, MutexGuard, PoisonError};

    use super::*;

    /// A file that is open for writing when another test forks cannot be run until that child's exec (ETXTBSY).
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

    /// A host whose iptables-save prints `saved`, and whose iptables-restore is the script `restore`.
    fn host(saved: &str, restore: &str) -> ((tempfile::TempDir, MutexGuard<'static, ()>), Iptables) {
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = tempfile::tempdir().unwrap();
        let save = format!("cat <<'END'\n{saved}\nEND");
        for (name, script) in [("iptables-save", save.as_str()), ("iptables-restore", restore)] {
            let path = dir.path().join(name);
            store::write_atomic(&path, format!("#!/bin/sh\ncd {}\n{script}\n", dir.path().display()).as_bytes(), 0o700)
                .unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        }
        let iptables = Iptables::new([dir.path().to_owned()], dir.path().join("run/lock"));
        ((dir, turn), iptables)
    }

    fn one_chain() -> Batch {
        let mut batch = Batch::default();
        batch.reset_chain("CNI-a");
        batch
    }

    #[test]
    fn a_change_is_one_restore_of_what_was_planned_from_the_save() {
        let ((dir, _turn), iptables) = host("*nat\n:CNI-old - [0:0]\nCOMMIT", "echo \"$@\" >arguments; cat >input");
        iptables
            .update(Variant::Default, Family::V4, "nat", |table| {
                assert!(table.has_chain("CNI-old"));
                one_chain()
            })
            .unwrap();
        let read = |name| std::fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!(read("arguments"), "--noflush --wait\n");
        assert_eq!(read("input"), "*nat\n:CNI-a - [0:0]\nCOMMIT\n");
    }

    #[test]
    fn an_empty_plan_restores_nothing() {
        let ((dir, _turn), iptables) = host("*nat\nCOMMIT", "touch ran");
        iptables.update(Variant::Default, Family::V4, "nat", |_table| Batch::default()).unwrap();
        assert!(!dir.path().join("ran").exists());
    }

    #[test]
    fn a_change_that_was_overtaken_is_planned_again_a_few_times() {
        let (host_files, iptables) = host("*nat\nCOMMIT", "test -e once && exit 0; touch once; exit 1");
        let plans = RefCell::new(0);
        let plan = |_table: &Table| {
            *plans.borrow_mut() += 1;
            one_chain()
        };
        iptables.update(Variant::Default, Family::V4, "nat", plan).unwrap();
        assert_eq!(plans.take(), 2);
        drop(host_files);
        let (_host, iptables) = host("*nat\nCOMMIT", "echo line 2 failed >&2; exit 1");
        let error = iptables.update(Variant::Default, Family::V4, "nat", plan).unwrap_err();
        assert_eq!(plans.take(), ATTEMPTS);
        let text = error.to_string();
        assert!(text.contains("iptables-restore failed (exit status: 1): line 2 failed"), "{text}");
    }

    #[test]
    fn a_missing_program_comes_with_the_cure() {
        let (_host, iptables) = host("", "");
        assert!(iptables.is_installed(Variant::Default, Family::V4));
        assert!(iptables.is_installed(Variant::Legacy, Family::V4), "the default stands in");
        assert!(!iptables.is_installed(Variant::Default, Family::V6));
        let error = iptables.list(Variant::Default, Family::V6, "nat").unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot find ip6tables-save; hint: install iptables, or choose the nftables backend"
        );
    }
}
