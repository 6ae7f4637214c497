use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::convert;
use crate::env::{Env, Verb};
use crate::error::{CniError, ErrorCode, ErrorReply};
use crate::json;
use crate::netns::Netns;
use crate::plugin::AnyPlugin;
use crate::plugin::delegate::{Delegate, DelegateError};
use crate::plugin::signal::interrupted;
use crate::plugin::stderr::Stderr;
use crate::types::{ArgsError, AttachmentId, CniArgs, ConfigError, NetworkConfig};
use crate::version::SpecVersion;

/// One call of a plugin: its configuration and what it needs to call others.
pub struct Call<'a> {
    /// The network configuration, common part; [`NetworkConfig::decode`] gives the plugin's own.
    pub config: NetworkConfig,
    /// The bytes on stdin, as they came.
    pub stdin: &'a [u8],
    /// The environment.
    pub env: &'a Env,
    /// The plugins of this executable.
    pub(crate) plugins: &'a [&'a dyn AnyPlugin],
    pub(super) stderr: Stderr<'a>,
}

impl fmt::Debug for Call<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("config", &self.config).finish_non_exhaustive()
    }
}

impl<'a> Call<'a> {
    /// The delegate that `ipam.type` names; `None` where the configuration has no IPAM.
    ///
    /// # Errors
    /// [`DelegateError`] if it is not in `CNI_PATH`.
    pub fn ipam(&'a self) -> Result<Option<Delegate<'a>>, DelegateError> {
        self.config.ipam_type.as_deref().map(|name| self.delegate(name)).transpose()
    }

    /// The plugin `name` of `CNI_PATH`, to be called with this call's own stdin.
    ///
    /// # Errors
    /// [`DelegateError`] if it is not in `CNI_PATH`.
    pub fn delegate(&'a self, name: &str) -> Result<Delegate<'a>, DelegateError> {
        Delegate::find(self, name, Cow::Borrowed(self.stdin))
    }

    /// The plugin `name` of `CNI_PATH`, to be called with the configuration `stdin`.
    ///
    /// # Errors
    /// [`DelegateError`] if it is not in `CNI_PATH`.
    pub fn delegate_with(&'a self, name: &str, stdin: Vec<u8>) -> Result<Delegate<'a>, DelegateError> {
        Delegate::find(self, name, Cow::Owned(stdin))
    }

    /// Has IPAM do the same verb: `call.forward_to_ipam(Delegate::gc)`. Without IPAM there is nothing to do.
    ///
    /// # Errors
    /// What the delegate failed with, or that it is not in `CNI_PATH`.
    pub fn forward_to_ipam(
        &'a self,
        verb: impl FnOnce(&Delegate<'a>) -> Result<(), DelegateError>,
    ) -> Result<(), DelegateError> {
        self.ipam()?.map_or(Ok(()), |ipam| verb(&ipam))
    }

    /// Writes one line to stderr, for what the operator should know though the call succeeds.
    pub fn warn(&self, line: impl fmt::Display) {
        let mut stderr = self.stderr;
        // There is nobody to tell that stderr is closed.
        let _ = writeln!(stderr, "{}: {line}", self.config.plugin_type);
    }
}

/// The attachment that an ADD, DEL or CHECK is about.
#[derive(Clone, Debug)]
pub struct Attachment {
    /// `CNI_CONTAINERID` and `CNI_IFNAME`.
    pub id: AttachmentId,
    /// `CNI_NETNS`. Present for ADD and CHECK; `None` on a DEL after the namespace is gone.
    pub netns: Option<PathBuf>,
    args: String,
}

impl Attachment {
    /// The interface name in the container.
    #[must_use]
    pub fn ifname(&self) -> &str {
        self.id.ifname.as_str()
    }

    /// `CNI_NETNS`, empty where there is none: the `sandbox` of results.
    #[must_use]
    pub fn sandbox(&self) -> &Path {
        self.netns.as_deref().unwrap_or(Path::new(""))
    }

    /// `CNI_ARGS`, parsed. A plugin that has no use for it does not ask, and is then not disturbed by its faults.
    ///
    /// # Errors
    /// [`ArgsError::InvalidPair`].
    pub fn args(&self) -> Result<CniArgs, ArgsError> {
        CniArgs::parse(&self.args)
    }
}

impl CniError for ArgsError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::InvalidPair(_) | Self::InvalidIgnoreUnknown(_) | Self::Unknown(_) => ErrorCode::INVALID_ENVIRONMENT,
        }
    }
}

/// An error on its way out, with the version to answer in.
struct Refusal {
    version: SpecVersion,
    reply: ErrorReply,
}

impl Refusal {
    fn new(version: SpecVersion, code: ErrorCode, msg: impl Into<String>, details: impl Into<String>) -> Self {
        Self { version, reply: ErrorReply::new(code, msg, details) }
    }
}

impl From<ErrorReply> for Refusal {
    /// Before the configuration is read, the answer is in the newest version.
    fn from(reply: ErrorReply) -> Self {
        Self { version: SpecVersion::LATEST, reply }
    }
}

/// Refuses the configuration `text`, in its own version where that can be read.
fn refuse_config(text: &[u8], fault: &ConfigError, supported: &[SpecVersion]) -> Refusal {
    let mut reply = fault.reply();
    if let ConfigError::VersionUnknown(version) = fault {
        reply.details = crate::types::incompatible(version, supported);
    }
    let version = match json::parse(text).ok().as_ref().and_then(Value::as_object) {
        Some(object) => match json::member(object, "cniVersion") {
            None => Some(SpecVersion::DEFAULT),
            Some(version) => version.as_str().and_then(|v| v.parse().ok()),
        },
        None => None,
    };
    Refusal { version: version.unwrap_or(SpecVersion::LATEST), reply }
}

/// Serves one call of `plugin` as the protocol asks: reads `env` and `stdin`, writes one reply to `stdout`, and gives
/// the exit code. `plugins` are those of this executable, for delegation without a process.
pub fn dispatch(
    plugin: &dyn AnyPlugin,
    plugins: &[&dyn AnyPlugin],
    env: &Env,
    stdin: &mut dyn Read,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
) -> u8 {
    let command = env.var("CNI_COMMAND").unwrap_or_default();
    if command.is_empty() {
        let versions: Vec<&str> = plugin.versions().iter().map(|v| v.as_str()).collect();
        let version = concat!("v1.9.1+ferrule.", env!("CARGO_PKG_VERSION"));
        // Runtimes and people run a plugin bare to see what it is; the reference answers on stderr. Its version is what nerdctl
        // judges by whether `firewall` knows "isolated" (v1.7.1), or else makes networks that are not isolated.
        let _ = writeln!(
            stderr,
            "CNI {} plugin {version}\nCNI protocol versions supported: {}",
            plugin.name(),
            versions.join(", ")
        );
        return 0;
    }
    match serve(plugin, plugins, env, command, stdin, stdout, stderr) {
        Ok(()) => 0,
        Err(refusal) => {
            // With stdout closed, the exit code is all that is left to say.
            let _ = write_error(stdout, &refusal);
            1
        }
    }
}

/// Writes the names of all plugins to stdout, one a line.
pub(crate) fn list_names(plugins: &[&dyn AnyPlugin]) -> std::process::ExitCode {
    let names: String = plugins.iter().flat_map(|plugin| plugin.names()).map(|name| format!("{name}\n")).collect();
    match std::io::stdout().write_all(names.as_bytes()) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(_closed) => std::process::ExitCode::FAILURE,
    }
}

/// The answer of a multi-call executable that was not called by a plugin's name.
pub(crate) fn refuse_name(name: &str, plugins: &[&dyn AnyPlugin]) -> std::process::ExitCode {
    let names: Vec<&str> = plugins.iter().flat_map(|plugin| plugin.names()).collect();
    let reply = ErrorReply::new(
        ErrorCode::INVALID_ENVIRONMENT,
        format!("no plugin is called \"{name}\" (hint: call this file by the name of one: {})", names.join(", ")),
        "",
    );
    let _ = write_error(&mut std::io::stdout(), &reply.into());
    std::process::ExitCode::FAILURE
}

fn serve(
    plugin: &dyn AnyPlugin,
    plugins: &[&dyn AnyPlugin],
    env: &Env,
    command: &str,
    stdin: &mut dyn Read,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
) -> Result<(), Refusal> {
    let id = env.validate(command)?;
    let verb = Verb::find(command);
    if verb == Some(Verb::Version) {
        let versions: Vec<&str> = plugin.versions().iter().map(|v| v.as_str()).collect();
        let reply = json!({"cniVersion": version_of_input(stdin), "supportedVersions": versions});
        // As one write.
        return stdout
            .write_all(format!("{reply}\n").as_bytes())
            .map_err(|e| io_error(SpecVersion::LATEST, "cannot write the reply", &e));
    }
    let mut text = Vec::with_capacity(4096);
    stdin.read_to_end(&mut text).map_err(|e| io_error(SpecVersion::LATEST, "error reading from stdin", &e))?;
    let config = NetworkConfig::parse(&text);
    let Some(verb) = verb else {
        // The reference looks at the name before it knows the command, and at the rest of the configuration after.
        return Err(match config {
            Err(fault @ (ConfigError::Syntax(_) | ConfigError::NameMissing | ConfigError::NameInvalid(_))) => {
                refuse_config(&text, &fault, plugin.versions())
            }
            Err(_) | Ok(_) => {
                ErrorReply::new(ErrorCode::INVALID_ENVIRONMENT, format!("unknown CNI_COMMAND: {command}"), "").into()
            }
        });
    };
    let config = config.map_err(|fault| refuse_config(&text, &fault, plugin.versions()))?;
    let version = config.cni_version;
    require_version(verb, version, plugin.versions())?;

    let stderr = RefCell::new(stderr);
    let call = Call { config, stdin: &text, env, plugins, stderr: Stderr::new(&stderr) };
    let refuse = |reply| Refusal { version, reply };
    let Some(id) = id else {
        let valid = &call.config.valid_attachments;
        return match (verb, valid) {
            (Verb::Status, _) => plugin.status(&call).map_err(refuse),
            (Verb::Gc, Some(valid)) => plugin.gc(&call, valid).map_err(refuse),
            // GC without a list: nothing was said about what is valid, so nothing is removed.
            _ => Ok(()),
        };
    };
    let attachment = Attachment { id, netns: env.netns(), args: env.var("CNI_ARGS").unwrap_or_default().to_owned() };
    match verb {
        Verb::Add => {
            guard_own_netns(env, &attachment, version)?;
            add(plugin, &call, &attachment, stdout)
        }
        Verb::Del => {
            guard_own_netns(env, &attachment, version)?;
            plugin.del(&call, &attachment).map_err(refuse)
        }
        _ => plugin.check(&call, &attachment).map_err(refuse),
    }
}

/// ADD, and its reply. Until the last byte is written the attachment does not exist for the runtime, so whatever
/// fails after the plugin's work is undone by DEL.
fn add(
    plugin: &dyn AnyPlugin,
    call: &Call<'_>,
    attachment: &Attachment,
    stdout: &mut dyn Write,
) -> Result<(), Refusal> {
    let version = call.config.cni_version;
    let result = plugin.add(call, attachment).map_err(|reply| Refusal { version, reply })?;
    let answered = interrupted()
        .map_err(|e| Refusal::new(version, ErrorCode::TRY_AGAIN_LATER, e.to_string(), ""))
        .and_then(|()| {
            convert::to_wire(&result, version)
                .map_err(|e| Refusal::new(version, ErrorCode::INCOMPATIBLE_VERSION, e.to_string(), ""))
        })
        .and_then(|reply| {
            stdout
                .write_all(json::pretty(&reply).as_bytes())
                .and_then(|()| stdout.flush())
                .map_err(|e| io_error(version, "cannot write the result", &e))
        });
    if answered.is_err()
        && let Err(e) = plugin.del(call, attachment)
    {
        call.warn(format_args!("after a failed ADD, DEL failed too: {e}"));
    }
    answered
}

/// What VERSION answers as its `cniVersion`: that of the input (specification, "VERSION Success"), also one that this
/// plugin does not speak; the newest, if there is none. The input may stay open behind its one object.
fn version_of_input(stdin: &mut dyn Read) -> String {
    let mut values = serde_json::Deserializer::from_reader(stdin).into_iter::<Value>();
    let input = values.next().and_then(Result::ok);
    let asked = input.as_ref().and_then(Value::as_object).and_then(|object| json::member(object, "cniVersion"));
    asked.and_then(Value::as_str).unwrap_or(SpecVersion::LATEST.as_str()).to_owned()
}

/// The gates of CHECK (0.4.0), GC and STATUS (1.1.0), and the plugin's own list.
fn require_version(verb: Verb, version: SpecVersion, supported: &[SpecVersion]) -> Result<(), Refusal> {
    let gate: Option<fn(SpecVersion) -> bool> = match verb {
        Verb::Check => Some(SpecVersion::has_check),
        Verb::Gc | Verb::Status => Some(SpecVersion::has_gc_and_status),
        Verb::Add | Verb::Del | Verb::Version => None,
    };
    let refuse =
        |msg: String, details: String| Err(Refusal::new(version, ErrorCode::INCOMPATIBLE_VERSION, msg, details));
    if let Some(has_verb) = gate {
        if !has_verb(version) {
            return refuse(format!("config version does not allow {}", verb.as_str()), String::new());
        }
        if supported.iter().all(|v| *v < version) {
            return refuse(format!("plugin version does not allow {}", verb.as_str()), String::new());
        }
    }
    if !supported.contains(&version) {
        return refuse("incompatible CNI versions".to_owned(), crate::types::incompatible(version.as_str(), supported));
    }
    Ok(())
}

/// Refuses a `CNI_NETNS` that is the plugin's own namespace, before anything is done in it. One that cannot be opened
/// is left to the plugin, which knows whether it needs it.
fn guard_own_netns(env: &Env, attachment: &Attachment, version: SpecVersion) -> Result<(), Refusal> {
    if env.allows_own_netns() {
        return Ok(());
    }
    let Some(Ok(netns)) = attachment.netns.as_deref().map(Netns::open) else { return Ok(()) };
    let same = Netns::current().and_then(|own| own.same_as(&netns)).unwrap_or(false);
    if same {
        return Err(Refusal::new(
            version,
            ErrorCode::INVALID_NETNS,
            "plugin's netns and netns from CNI_NETNS should not be the same",
            "",
        ));
    }
    Ok(())
}

fn io_error(version: SpecVersion, doing: &str, fault: &std::io::Error) -> Refusal {
    Refusal::new(version, ErrorCode::IO, format!("{doing}: {fault}"), "")
}

fn write_error(stdout: &mut dyn Write, refusal: &Refusal) -> std::io::Result<()> {
    let Refusal { version, reply } = refusal;
    let mut object = json!({"cniVersion": version.as_str(), "code": reply.code, "msg": reply.msg});
    if !reply.details.is_empty()
        && let Some(map) = object.as_object_mut()
    {
        map.insert("details".to_owned(), reply.details.clone().into());
    }
    stdout.write_all(json::pretty(&object).as_bytes())?;
    stdout.flush()
}
