//! Puts plugins and configurations where a container runtime looks for them, back, and away: for people, and for images
//! without a shell.
//!
//! What is put into a directory is one transaction, remembered in that directory: `rollback` puts back what was
//! there before the last one, `uninstall` what was there before the first.

mod record;
#[cfg(test)]
mod tests;
mod transaction;

use std::path::{Path, PathBuf};

use libcni::store::{self, StoreError};

use crate::args::{RollbackOptions, UninstallOptions};
use crate::error::ToolError;
use crate::report::counted;
use crate::session::Session;
use transaction::Target;

/// A file, and the name that it is to have.
type Named = (PathBuf, String);

/// `FROM=TO`: a file and its new path, or a directory and the one that its files are to be in.
#[derive(Clone, Debug)]
pub(crate) struct Placement {
    from: PathBuf,
    to: PathBuf,
}

impl Placement {
    /// Reads an argument.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((from, to)) if !from.is_empty() && !to.is_empty() => Ok(Self { from: from.into(), to: to.into() }),
            _ => Err("expected FROM=TO, such as /opt/cni/bin=/host/opt/cni/bin".to_owned()),
        }
    }

    /// The directory that gets files, and which: from where, and under which names.
    fn files(&self) -> Result<(&Path, Vec<Named>), ToolError> {
        let named = |path: &Path| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.map(str::to_owned).ok_or_else(|| ToolError::FileName(path.to_owned()))
        };
        let meta = std::fs::metadata(&self.from).map_err(StoreError::on("read", &self.from))?;
        if !meta.is_dir() {
            let dir = self.to.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
            return Ok((dir, vec![(self.from.clone(), named(&self.to)?)]));
        }
        let mut files = Vec::new();
        for file in store::files(&self.from)? {
            let name = named(&file)?;
            files.push((file, name));
        }
        Ok((&self.to, files))
    }
}

/// Everything is on the disk before the first file gets its name, each by rename: whoever executes or reads the old one
/// keeps it. Other files stay.
///
/// # Errors
/// [`ToolError`]; the directory is as it was then.
pub(crate) fn install(session: &mut Session<'_>, placements: &[Placement]) -> Result<(), ToolError> {
    // By their real paths: what is named twice is locked once.
    let mut targets: Vec<(PathBuf, Target)> = Vec::new();
    for placement in placements {
        let (dir, files) = placement.files()?;
        store::ensure_dir(dir, 0o755)?;
        let real = dir.canonicalize().map_err(StoreError::on("open", dir))?;
        if !targets.iter().any(|(other, _)| *other == real) {
            targets.push((real.clone(), Target::open(dir)?));
        }
        for (_, target) in targets.iter_mut().filter(|(other, _)| *other == real) {
            for (from, name) in &files {
                target.stage_copy(from, name)?;
            }
        }
    }
    for (_, target) in &mut targets {
        let (count, changed) = target.install()?;
        let (dir, files) = (target.dir().display(), counted(count, "file"));
        match changed {
            0 => session.print(format_args!("{dir}: {files} installed already\n"))?,
            _ => session.print(format_args!("{dir}: {files} installed, {changed} changed\n"))?,
        }
    }
    Ok(())
}

/// # Errors
/// [`ToolError`] at the first directory where nothing was installed, or that cannot be changed.
pub(crate) fn rollback(session: &mut Session<'_>, options: &RollbackOptions) -> Result<(), ToolError> {
    for dir in &options.dirs {
        let nothing = || ToolError::NothingToRollBack(dir.clone());
        let mut target = Target::find(dir)?.ok_or_else(nothing)?;
        let (back, removed) = target.roll_back()?.ok_or_else(nothing)?;
        let (dir, back, removed) = (dir.display(), counted(back, "file"), counted(removed, "new one"));
        session.print(format_args!("{dir}: {back} put back, {removed} removed\n"))?;
    }
    Ok(())
}

/// # Errors
/// [`ToolError`] at the first directory that cannot be changed.
pub(crate) fn uninstall(session: &mut Session<'_>, options: &UninstallOptions) -> Result<(), ToolError> {
    for dir in &options.dirs {
        let shown = dir.display();
        let Some(mut target) = Target::find(dir)? else {
            session.print(format_args!("{shown}: nothing is installed\n"))?;
            continue;
        };
        let done = target.uninstall(!options.no_restore)?;
        let (removed, restored) = (counted(done.removed, "file"), done.restored);
        session.print(format_args!("{shown}: {removed} removed, {restored} of before put back\n"))?;
        for name in done.foreign {
            session.print(format_args!("{shown}/{name}: stays, since somebody else has replaced it\n"))?;
        }
    }
    Ok(())
}
