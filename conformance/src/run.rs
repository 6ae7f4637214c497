//! All cases with all plugins: which trials there are, several of them at once, and what came of them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::case::{Case, Firewall, VERSIONS};
use crate::catalog::{self, CatalogError};
use crate::firewall;
use crate::job::{self, Assignment, Job, JobError, Outcome, Verdict};
use crate::network::is_at_least;
use crate::profile::{Profile, RECORDING_IPAM};
use crate::survey::Survey;

/// What a whole case gets before its process is killed. The plugins in it have their own limit.
const CASE_LIMIT: Duration = Duration::from_secs(900);

/// The type of a plugin that there is not, for cases of that.
const ABSENT: &str = "no-such-plugin";

/// What is to be run, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// This program, or another that calls [`crate::node_main`] when it is started with `node_arguments`.
    pub program: PathBuf,
    /// Its arguments.
    pub node_arguments: Vec<String>,
    /// The directory of the plugins.
    pub bin_dir: PathBuf,
    /// The types that are tested; all that are in the directory, if empty.
    pub plugins: Vec<String>,
    /// Profiles besides those that the suite knows; they take the place of known ones of the same type.
    pub profiles: Vec<Profile>,
    /// The groups of cases, or single cases; all, if empty.
    pub groups: Vec<String>,
    /// What each execution of a plugin gets.
    pub limit: Duration,
    /// A program with the command line of the Go cnitool, which drives the plugins where a case does what any runtime
    /// does; the suite itself, if absent.
    pub cnitool: Option<PathBuf>,
}

/// Why nothing can be run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A file of cases or plugins.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The namespaces cannot be made, or this program cannot be started in them.
    #[error(transparent)]
    Job(#[from] JobError),
    /// The directory cannot be used.
    #[error("cannot use {}", path.display())]
    BinDir {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A group or case that there is not.
    #[error("there is no group and no case \"{name}\" (hint: {known})")]
    UnknownGroup {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// A plugin that is not there.
    #[error("there is no plugin \"{name}\" in {}", dir.display())]
    NoPlugin {
        /// What was asked for.
        name: String,
        /// The directory.
        dir: PathBuf,
    },
    /// No program of the directory answers VERSION.
    #[error("no program in {} is a CNI plugin: none answers VERSION", .0.display())]
    NoPlugins(PathBuf),
}

/// What came of it all.
#[derive(Debug)]
pub struct Report {
    /// The directory of the plugins.
    pub bin_dir: PathBuf,
    /// One row for each case and plugin, in the order of the cases.
    pub rows: Vec<Row>,
}

/// A case with a plugin, or with a whole list, at all its versions and firewall backends.
#[derive(Debug)]
pub struct Row {
    /// The case.
    pub case: Case,
    /// The plugin under test; `None` for cases of whole lists.
    pub plugin: Option<String>,
    /// Each version and backend, and what came of it.
    pub trials: Vec<(String, Option<Firewall>, Result<Outcome, JobError>)>,
    /// Why there is no trial.
    pub skip: Option<String>,
}

/// The cases that `groups` choose: all, if empty.
///
/// # Errors
/// [`RunError::UnknownGroup`], [`RunError::Catalog`].
pub fn chosen(groups: &[String]) -> Result<Vec<Case>, RunError> {
    let mut cases = catalog::cases()?;
    for name in groups {
        if !cases.iter().any(|case| case.group() == name || case.name == *name) {
            let mut known: Vec<&str> = cases.iter().map(Case::group).collect();
            known.dedup();
            return Err(RunError::UnknownGroup { name: name.clone(), known: known.join(", ") });
        }
    }
    cases.retain(|case| groups.is_empty() || groups.iter().any(|name| case.group() == name || case.name == *name));
    Ok(cases)
}

/// Runs the cases. `progress` is told how many trials are done, and of how many.
///
/// # Errors
/// [`RunError`]: that nothing can be run. What fails in a trial stands in the report.
pub fn run(options: &Options, progress: &(dyn Fn(usize, usize) + Sync)) -> Result<Report, RunError> {
    let bin_dir = options.bin_dir.canonicalize();
    let bin_dir = bin_dir.map_err(|source| RunError::BinDir { path: options.bin_dir.clone(), source })?;
    let cases = chosen(&options.groups)?;
    let survey: Survey = delegate(options, &Job::Survey { bin_dir: bin_dir.clone(), types: Vec::new() })?;
    let subjects = subjects(options, &survey)?;
    let mut plan = Plan { options, bin_dir: &bin_dir, survey: &survey, subjects: &subjects, jobs: Vec::new() };
    let mut rows: Vec<Row> = cases.iter().flat_map(|case| plan.rows(case)).collect();
    let jobs = plan.jobs;
    let outcomes: Vec<Mutex<Option<Result<Outcome, JobError>>>> = jobs.iter().map(|_| Mutex::default()).collect();
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    // A trial waits for the kernel half of the time.
    let workers = 2 * std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let (Some(job), Some(slot)) = {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    (jobs.get(index), outcomes.get(index))
                } {
                    let outcome = delegate(options, job);
                    if let Ok(mut slot) = slot.lock() {
                        *slot = Some(outcome);
                    }
                    progress(done.fetch_add(1, Ordering::Relaxed) + 1, jobs.len());
                }
            });
        }
    });
    // The plan made the trials of the rows in this order.
    let mut outcomes = outcomes.into_iter().filter_map(|slot| slot.into_inner().ok().flatten());
    for trial in rows.iter_mut().flat_map(|row| &mut row.trials) {
        if let Some(outcome) = outcomes.next() {
            trial.2 = outcome;
        }
    }
    Ok(Report { bin_dir, rows })
}

fn delegate<T: serde::de::DeserializeOwned>(options: &Options, job: &Job) -> Result<T, JobError> {
    let arguments: Vec<&str> = options.node_arguments.iter().map(String::as_str).collect();
    job::delegate(&options.program, &arguments, job, CASE_LIMIT)
}

/// The plugins under test, with what is known of them.
fn subjects(options: &Options, survey: &Survey) -> Result<Vec<Profile>, RunError> {
    let dir = || options.bin_dir.clone();
    let is_there = |name: &String| survey.plugins.contains_key(name) || survey.others.contains_key(name);
    if let Some(name) = options.plugins.iter().find(|name| !is_there(name)) {
        return Err(RunError::NoPlugin { name: name.clone(), dir: dir() });
    }
    let mut known: BTreeMap<String, Profile> = BTreeMap::new();
    for profile in catalog::profiles()?.into_iter().chain(options.profiles.iter().cloned()) {
        known.insert(profile.plugin_type.clone(), profile);
    }
    let types: Vec<&String> =
        if options.plugins.is_empty() { survey.plugins.keys().collect() } else { options.plugins.iter().collect() };
    if types.is_empty() {
        return Err(RunError::NoPlugins(dir()));
    }
    Ok(types.into_iter().map(|name| known.get(name).cloned().unwrap_or_else(|| Profile::unknown(name))).collect())
}

/// Which trials there are.
struct Plan<'a> {
    options: &'a Options,
    bin_dir: &'a std::path::Path,
    survey: &'a Survey,
    subjects: &'a [Profile],
    jobs: Vec<Job>,
}

impl Plan<'_> {
    fn rows(&mut self, case: &Case) -> Vec<Row> {
        if case.classes.is_empty() && case.types.is_empty() {
            return self.list_row(case).into_iter().collect();
        }
        let is_meant = |profile: &&Profile| {
            (case.classes.contains(&profile.class) || case.types.contains(&profile.plugin_type))
                && case.traits.iter().all(|wanted| profile.has(*wanted))
        };
        let meant: Vec<Profile> = self.subjects.iter().filter(is_meant).cloned().collect();
        meant.into_iter().map(|profile| self.row(case, Some(profile))).collect()
    }

    /// A case of a whole list: if it has a plugin that is tested.
    fn list_row(&mut self, case: &Case) -> Option<Row> {
        let types = types_of(case.conflist.as_ref()?);
        let chosen = &self.options.plugins;
        let is_wanted = chosen.is_empty() || types.iter().any(|name| chosen.contains(name));
        is_wanted.then(|| self.row(case, None))
    }

    fn row(&mut self, case: &Case, subject: Option<Profile>) -> Row {
        let plugin = subject.as_ref().map(|profile| profile.plugin_type.clone());
        let skip = self.obstacle(case, subject.as_ref());
        let mut row = Row { case: case.clone(), plugin, trials: Vec::new(), skip };
        if row.skip.is_some() {
            return row;
        }
        let versions = self.versions(case, subject.as_ref());
        if versions.is_empty() {
            row.skip = Some("the plugins speak none of the versions that it is about".to_owned());
        }
        let mut firewalls: Vec<Option<Firewall>> = case.firewalls.iter().copied().map(Some).collect();
        if firewalls.is_empty() {
            firewalls.push(None);
        }
        for version in versions {
            for &firewall in &firewalls {
                let obstacle = firewall.and_then(|f| self.firewall_obstacle(f));
                if let Some(reason) = obstacle {
                    let outcome = Outcome { verdict: Verdict::Skip(reason), micros: 0 };
                    row.trials.push((version.clone(), firewall, Ok(outcome)));
                    continue;
                }
                self.jobs.push(Job::Trial(Box::new(Assignment {
                    case: case.name.clone(),
                    subject: subject.clone(),
                    version: version.clone(),
                    firewall,
                    bin_dir: self.bin_dir.to_owned(),
                    limit: self.options.limit,
                    cnitool: self.options.cnitool.clone(),
                })));
                row.trials.push((version.clone(), firewall, Err(JobError::Node("it was not run".to_owned()))));
            }
        }
        row
    }

    /// Why a case cannot be run.
    fn obstacle(&self, case: &Case, subject: Option<&Profile>) -> Option<String> {
        if let Some(profile) = subject
            && let Some(reason) = &profile.skip
        {
            return Some(reason.clone());
        }
        let needs = case.needs.iter().chain(subject.into_iter().flat_map(|profile| &profile.needs));
        let mut missing = needs.filter(|feature| !self.survey.features.contains(feature));
        if let Some(feature) = missing.next() {
            return Some(format!("the kernel has no {}", feature.in_words()));
        }
        let types = case.conflist.as_ref().map(types_of).unwrap_or_default();
        let absent = types.iter().find(|name| !self.survey.plugins.contains_key(*name) && *name != RECORDING_IPAM);
        absent.map(|name| format!("there is no plugin {name}"))
    }

    fn firewall_obstacle(&self, backend: Firewall) -> Option<String> {
        if let Some(reason) = firewall::missing(backend) {
            return Some(reason.to_owned());
        }
        let legacy = crate::case::Feature::IptablesLegacy;
        let lacks = backend == Firewall::IptablesLegacy && !self.survey.features.contains(&legacy);
        lacks.then(|| format!("the kernel has no {}", legacy.in_words()))
    }

    /// The versions that a case is run at.
    fn versions(&self, case: &Case, subject: Option<&Profile>) -> Vec<String> {
        let types = match (&case.conflist, subject) {
            (Some(conflist), _) => types_of(conflist),
            (None, Some(profile)) => vec![profile.plugin_type.clone()],
            (None, None) => Vec::new(),
        };
        let known = types.iter().filter_map(|name| self.survey.plugins.get(name));
        let known: Vec<&Vec<String>> =
            known.chain(subject.and_then(|profile| self.survey.plugins.get(&profile.plugin_type))).collect();
        let is_spoken = |version: &&str| known.iter().all(|versions| versions.iter().any(|own| own == version));
        let is_new_enough = |version: &&str| case.since.as_ref().is_none_or(|since| is_at_least(version, since));
        let spoken = VERSIONS.iter().copied().filter(is_spoken).filter(is_new_enough);
        let is_meant = |version: &&str| {
            case.versions.is_empty() || case.versions.iter().any(|wanted| wanted == "all" || wanted == version)
        };
        let mut versions: Vec<String> = spoken.filter(is_meant).map(str::to_owned).collect();
        if case.versions.is_empty() {
            versions = versions.pop().into_iter().collect();
        }
        versions
    }
}

/// The types of a list, those of IPAM included, without the one under test.
fn types_of(conflist: &Value) -> Vec<String> {
    let plugins = conflist.get("plugins").and_then(Value::as_array).into_iter().flatten();
    let types = plugins.flat_map(|plugin| {
        let delegate = plugin.pointer("/delegate/type").or(plugin.pointer("/ipam/type"));
        [plugin.get("type"), delegate].into_iter().flatten().filter_map(Value::as_str)
    });
    types.filter(|name| !name.starts_with('$') && !name.is_empty() && *name != ABSENT).map(str::to_owned).collect()
}
