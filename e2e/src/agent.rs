//! The agent's process and its subcommands.

use std::{
    env, fs, io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use xdp_core::tables::ABI_VERSION;
use xdp_lab::{Finished, Lab, Process, Signal};

use crate::{
    ManifestFolder, Status,
    installed::{HttpReply, http_get},
    seccomp::{AllowedCalls, SeccompProfile},
};

/// The limit for a subcommand.
const PATIENCE: Duration = Duration::from_mins(1);

/// The addresses of probes and metrics. Every lab's node is a network namespace with its own ports.
const PROBES: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9466);
const METRICS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), METRICS_PORT);
/// The port of the metrics on all addresses of the node.
pub const METRICS_PORT: u16 = 9465;

/// `xdp-agent` on a lab's node, under the chart's seccomp profile. When it is dropped, it panics with what
/// the profile has refused.
pub struct Agent<'a> {
    lab: &'a Lab,
    nics: Vec<String>,
    manifests: PathBuf,
    pin_dir: PathBuf,
    under: Vec<String>,
    listens: Vec<String>,
    arguments: Vec<String>,
    program: PathBuf,
    log: PathBuf,
    process: Option<Process>,
    filter: AllowedCalls,
    /// After the process, which uses it.
    _socket: ExplainSocket,
}

/// The socket of `xdp-agent explain`, which an agent that is killed leaves behind. It has the name of the pin
/// directory's device and inode.
struct ExplainSocket(PathBuf);

impl Drop for ExplainSocket {
    fn drop(&mut self) {
        let directory = Path::new("/run/xdp-operator");
        if let Ok(found) = fs::metadata(&self.0) {
            let _ = fs::remove_file(directory.join(format!("explain-{:x}-{:x}", found.dev(), found.ino())));
            let _ = fs::remove_dir(directory);
        }
    }
}

impl<'a> Agent<'a> {
    /// Describes an agent for all NICs named `nic*`, not started yet.
    pub fn new(lab: &'a Lab, manifests: &ManifestFolder) -> Self {
        let log = lab.dir().join("agent.log");
        Self {
            lab,
            nics: vec!["nic*".to_owned()],
            manifests: manifests.folder().to_owned(),
            pin_dir: lab.pin_dir(),
            under: Vec::new(),
            listens: Vec::new(),
            arguments: Vec::new(),
            program: binary(),
            log,
            process: None,
            filter: AllowedCalls::of_chart(),
            _socket: ExplainSocket(lab.pin_dir()),
        }
    }

    /// Sets the NICs.
    #[must_use]
    pub fn nics(mut self, globs: &[&str]) -> Self {
        self.nics = globs.iter().map(|&glob| glob.to_owned()).collect();
        self
    }

    /// Sets the agent's binary, instead of the one next to this program.
    #[must_use]
    pub fn program(self, program: &Path) -> Self {
        let program = program.to_owned();
        Self { program, ..self }
    }

    /// Sets the folder of manifests.
    #[must_use]
    pub fn manifests(self, folder: &Path) -> Self {
        let manifests = folder.to_owned();
        Self { manifests, ..self }
    }

    /// Sets the pin directory.
    #[must_use]
    pub fn pin_dir(self, pin_dir: &Path) -> Self {
        Self {
            pin_dir: pin_dir.to_owned(),
            _socket: ExplainSocket(pin_dir.to_owned()),
            ..self
        }
    }

    /// Sets the seccomp profile, instead of the chart's.
    pub fn profile(self, profile: &SeccompProfile) -> anyhow::Result<Self> {
        let filter = AllowedCalls::new(profile)?;
        Ok(Self { filter, ..self })
    }

    /// Runs the agent by another program, such as `setpriv`, and without the seccomp profile, which that one
    /// would need rights beyond. The agent's command line is appended to `command`.
    #[must_use]
    pub fn under(mut self, command: &[&str]) -> Self {
        self.under = command.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// Serves probes and metrics on the node itself; see [`Agent::get`].
    #[must_use]
    pub fn listens(self) -> Self {
        let listens = vec![
            format!("--health-probe-bind-address={PROBES}"),
            format!("--metrics-bind-address={METRICS}"),
        ];
        Self { listens, ..self }
    }

    /// Serves probes on the node itself, and metrics for everyone on all its addresses.
    #[must_use]
    pub fn listens_to_all(self) -> Self {
        let listens = vec![
            format!("--health-probe-bind-address={PROBES}"),
            format!("--metrics-bind-address=0.0.0.0:{METRICS_PORT}"),
            "--metrics-secure=false".to_owned(),
        ];
        Self { listens, ..self }
    }

    /// Adds arguments of `run`.
    #[must_use]
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        self
    }

    /// Sets the file of the log, for a second agent in one lab.
    #[must_use]
    pub fn log_to(mut self, name: &str) -> Self {
        self.log = self.lab.dir().join(name);
        self
    }

    /// Starts `run`, and returns immediately. Its log is appended to the log of an earlier start.
    pub fn start(&mut self) -> anyhow::Result<()> {
        ensure!(self.process.is_none(), "the agent is already running");
        let log = self.open_log()?;
        let mut command = self.command("run");
        command
            .arg("--manifests")
            .arg(&self.manifests)
            .stdout(Stdio::null())
            .stderr(log);
        for nic in &self.nics {
            command.arg("--nic").arg(nic);
        }
        command.args(&self.listens).args(&self.arguments);
        self.process = Some(self.spawn(command)?);
        Ok(())
    }

    /// Kills the agent by SIGKILL.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.process.take().context("the agent is not running")?.kill()?;
        Ok(())
    }

    /// Sends SIGTERM, and waits until the agent has exited.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        let process = self.process.take().context("the agent is not running")?;
        process.signal(Signal::SIGTERM)?;
        let status = process.wait(PATIENCE)?;
        ensure!(status.success(), "the agent ended with {status}: {}", self.log());
        Ok(())
    }

    /// Returns the agent's process id.
    pub fn pid(&self) -> anyhow::Result<u32> {
        Ok(self.process.as_ref().context("the agent is not running")?.id())
    }

    /// Returns the exit status and the log, if the agent has exited.
    pub fn ended(&self) -> anyhow::Result<Option<String>> {
        let ended = self
            .process
            .as_ref()
            .context("the agent was not started")?
            .try_wait()?;
        Ok(ended.map(|status| format!("{status}: {}", self.log())))
    }

    /// Runs any command line of the agent, with the pin directory in the environment.
    pub fn call(&self, arguments: &[&str]) -> anyhow::Result<Finished> {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .env("XDP_AGENT_PIN_DIR", &self.pin_dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Ok(self
            .lab
            .node()
            .spawn_filtered(command, self.filter.filter())?
            .finish(PATIENCE)?)
    }

    /// Returns the log so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Runs `status -o json`, which does not need a running agent. Returns `None` if it fails.
    pub fn status(&self) -> Option<Status> {
        let mut command = self.command("status");
        command.args(["-o", "json"]);
        Status::parse(&self.output(command).ok()?)
    }

    /// Waits until `status -o json` succeeds: it may fail while the agent creates or removes pins.
    #[track_caller]
    pub fn look(&self) -> Status {
        self.wait_for("the status can be read", |_| true)
    }

    /// Runs `status`, and returns its table.
    pub fn status_table(&self) -> anyhow::Result<String> {
        self.output(self.command("status"))
    }

    /// Runs `uninstall`.
    pub fn uninstall(&self) -> anyhow::Result<String> {
        self.output(self.command("uninstall"))
    }

    /// Starts `uninstall --wait` with probes for [`Agent::get`]. Its report is in the log.
    pub fn uninstall_and_wait(&self) -> anyhow::Result<Process> {
        let mut command = self.command("uninstall");
        command.args(["--wait", "--health-probe-bind-address", &PROBES.to_string()]);
        command.stdout(self.open_log()?).stderr(self.open_log()?);
        self.spawn(command)
    }

    /// Sends a GET request to the agent on the node.
    pub fn get(&self, path: &str) -> anyhow::Result<HttpReply> {
        let server = if path == "/metrics" { METRICS } else { PROBES };
        http_get(self.lab.node(), server, path)
    }

    /// Waits until the status is as wanted, and returns it.
    ///
    /// # Panics
    ///
    /// After 90 seconds, which is longer than the agent's longest backoff: with `what`, the last status and
    /// the log.
    #[track_caller]
    pub fn wait_for(&self, what: &str, wanted: impl Fn(&Status) -> bool) -> Status {
        match self.wait_within(Duration::from_secs(90), what, wanted) {
            Ok(status) => status,
            Err(late) => panic!("{late}\nlog:\n{}", self.log()),
        }
    }

    /// Waits until the status is as wanted, and returns it.
    pub fn wait_within(
        &self,
        limit: Duration,
        what: &str,
        wanted: impl Fn(&Status) -> bool,
    ) -> anyhow::Result<Status> {
        let deadline = std::time::Instant::now() + limit;
        let mut pause = Duration::from_millis(10);
        loop {
            let status = self.status();
            match status {
                Some(status) if wanted(&status) => return Ok(status),
                _ if let Some(refused) = self.filter.refused() => bail!("{refused}"),
                None if let Ok(Some(ended)) = self.ended() => {
                    bail!("the agent ended before {what}: {ended}")
                }
                status if std::time::Instant::now() > deadline => {
                    bail!("timed out waiting until {what}\nstatus: {status:#?}")
                }
                // Each status is a process.
                _ => {
                    thread::sleep(pause);
                    pause = (pause * 2).min(Duration::from_millis(100));
                }
            }
        }
    }

    /// Waits until `run` exits by itself, and returns its exit code and the log.
    pub fn wait_for_end(&mut self) -> anyhow::Result<(Option<i32>, String)> {
        let process = self.process.take().context("the agent was not started")?;
        let status = process.wait(PATIENCE)?;
        Ok((status.code(), self.log()))
    }

    /// Returns the command line for a user's shell, with `nsenter`.
    pub fn command_line(&self, command: &str) -> String {
        format!(
            "nsenter --net={} {} {command} --pin-dir {}",
            self.lab.node().path().display(),
            self.program.display(),
            self.pin_dir.display()
        )
    }

    fn command(&self, name: &str) -> Command {
        let mut command = match self.under.split_first() {
            None => Command::new(&self.program),
            Some((program, arguments)) => {
                let mut command = Command::new(program);
                command.args(arguments).arg(&self.program);
                command
            }
        };
        command
            .arg(name)
            .arg("--pin-dir")
            .arg(&self.pin_dir)
            .stdin(Stdio::null())
            .env("NO_COLOR", "1");
        command
    }

    fn spawn(&self, command: Command) -> anyhow::Result<Process> {
        let node = self.lab.node();
        if self.under.is_empty() {
            Ok(node.spawn_filtered(command, self.filter.filter())?)
        } else {
            Ok(node.spawn(command)?)
        }
    }

    fn open_log(&self) -> anyhow::Result<fs::File> {
        Ok(fs::OpenOptions::new().create(true).append(true).open(&self.log)?)
    }

    fn output(&self, mut command: Command) -> anyhow::Result<String> {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let finished = self.spawn(command)?.finish(PATIENCE)?;
        ensure!(
            finished.status.success(),
            "{}: {}",
            finished.status,
            finished.stderr
        );
        Ok(finished.stdout)
    }
}

/// Finds the agent's binary next to this one, where Cargo puts both (tests are one folder further down).
fn binary() -> PathBuf {
    let own = env::current_exe().unwrap_or_default();
    let sibling = |folder: &Path| folder.join("xdp-agent");
    let found = own
        .ancestors()
        .skip(1)
        .take(2)
        .map(sibling)
        .find(|path| path.exists());
    found.unwrap_or_else(|| PathBuf::from("xdp-agent"))
}

/// Renames the pins in a pin directory to those of table layout 4, whose directory and flow tables have other
/// names, and which has fewer maps. Returns the directory of that layout.
pub fn make_pins_older(pin_dir: &Path) -> io::Result<PathBuf> {
    let older = pin_dir.join("abi-4");
    fs::rename(pin_dir.join(format!("abi-{ABI_VERSION}")), &older)?;
    let maps = older.join("maps");
    for (name, old) in [
        ("ESTABLISHED", "FLOWS"),
        ("UNREPLIED", "YOUNG"),
        ("STACK", "THEIRS"),
    ] {
        fs::rename(maps.join(name), maps.join(old))?;
    }
    for newer in ["NICS", "STATIONS", "OPENED", "OPENED_TAGS", "HEARD", "SENT"] {
        fs::remove_file(maps.join(newer))?;
    }
    Ok(older)
}
