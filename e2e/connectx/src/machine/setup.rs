//! What a machine consists of, and QEMU's command line for it.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

use super::{
    Architecture, FilesError, Kernel, MODULES, Machine, MachineError, MachineFiles, initramfs::initramfs,
    run_directory::RunDirectory,
};

/// The names of the virtio-serial ports.
pub(super) const PORTS: [&str; 3] = ["result", "output", "peer"];
/// Folders of the guest that are empty file systems of its own.
const HIDDEN: [&str; 3] = ["/tmp", "/run", "/mnt"];
/// A warning ends the machine. The limits of the watchdogs are those of an emulated processor on a busy host.
const KERNEL_ARGUMENTS: &str = "loglevel=5 panic=-1 oops=panic panic_on_warn=1 watchdog_thresh=60 \
    rcupdate.rcu_cpu_stall_timeout=120 random.trust_cpu=on";

/// A network device of QEMU's own, whose wire is a tap interface.
#[derive(Clone, Debug)]
pub struct QemuNic {
    /// The name for QEMU's monitor.
    pub id: String,
    /// QEMU's name of the model: `igb`, `vmxnet3`, `virtio-net-pci`.
    pub model: String,
    /// The MAC address, as in `52:54:00:00:00:01`.
    pub mac: String,
    /// The tap interface, in the machine's namespace.
    pub tap: String,
    /// The number of queue pairs; more than one needs a tap interface with `multi_queue`.
    pub queues: u32,
    /// Further properties of the device, as in `ctrl_guest_offloads=off`.
    pub properties: Vec<String>,
}

/// A machine that is not started yet.
#[derive(Debug)]
pub struct MachineBuilder {
    files: MachineFiles,
    pub(super) kernel: Kernel,
    pub(super) directory: RunDirectory,
    memory_mib: u32,
    processors: u32,
    modules: Vec<String>,
    kernel_arguments: Vec<String>,
    cards: Vec<String>,
    nics: Vec<QemuNic>,
    pub(super) namespace: Option<File>,
    pub(super) log: Option<PathBuf>,
    command: Vec<String>,
    environment: Vec<(String, String)>,
    folders: Vec<PathBuf>,
}

impl MachineBuilder {
    pub(super) fn new(files: &MachineFiles, kernel: &Kernel) -> Result<Self, MachineError> {
        Ok(Self {
            files: files.clone(),
            kernel: kernel.clone(),
            directory: RunDirectory::new()?,
            memory_mib: 1024,
            processors: 2,
            modules: Vec::new(),
            kernel_arguments: Vec::new(),
            cards: Vec::new(),
            nics: Vec::new(),
            namespace: None,
            log: None,
            command: vec!["true".to_owned()],
            environment: Vec::new(),
            folders: Vec::new(),
        })
    }

    /// Sets the size of the memory in MiB; 1024 by default.
    #[must_use]
    pub fn memory_mib(mut self, size: u32) -> Self {
        self.memory_mib = size;
        self
    }

    /// Sets the number of processors; 2 by default.
    #[must_use]
    pub fn processors(mut self, count: u32) -> Self {
        self.processors = count;
        self
    }

    /// Loads further modules in addition to [`MODULES`], written like these, and the drivers of the network
    /// devices.
    #[must_use]
    pub fn modules(mut self, names: &[&str]) -> Self {
        self.modules.extend(names.iter().map(|&name| name.to_owned()));
        self
    }

    /// Adds an argument to the kernel's command line.
    #[must_use]
    pub fn kernel_argument(mut self, argument: impl Into<String>) -> Self {
        self.kernel_arguments.push(argument.into());
        self
    }

    /// Adds a PCIe slot with a card, and returns the socket on which the card must listen before the start.
    pub fn card(&mut self, id: &str) -> PathBuf {
        self.cards.push(id.to_owned());
        card_socket(&self.directory, id)
    }

    /// Adds a PCIe slot with a network device of QEMU's own.
    #[must_use]
    pub fn nic(mut self, nic: QemuNic) -> Self {
        self.nics.push(nic);
        self
    }

    /// Runs QEMU in a network namespace, as in `/run/netns/NAME`: there are the tap interfaces.
    #[must_use]
    pub fn namespace(mut self, namespace: File) -> Self {
        self.namespace = Some(namespace);
        self
    }

    /// Writes all lines to a file as they arrive.
    #[must_use]
    pub fn log(mut self, path: impl Into<PathBuf>) -> Self {
        self.log = Some(path.into());
        self
    }

    /// Sets the command that the machine runs as root in the guest's root, with an absolute path.
    ///
    /// Its standard output and standard error are in [`Machine::output`].
    #[must_use]
    pub fn command<S: Into<String>>(
        mut self,
        program: impl Into<String>,
        arguments: impl IntoIterator<Item = S>,
    ) -> Self {
        self.command = vec![program.into()];
        self.command.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable of the command. It has no others but `PATH` and `HOME`.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Makes a folder of the host visible that is below `/tmp`, `/run` or `/mnt`, which are empty otherwise.
    #[must_use]
    pub fn folder(mut self, path: impl Into<PathBuf>) -> Self {
        self.folders.push(path.into());
        self
    }

    /// Starts it. Returns when QEMU runs; the kernel may still be booting.
    pub fn start(self) -> Result<Machine, MachineError> {
        self.write("command", &self.script())?;
        self.write("folders", &self.visible_folders())?;
        let initramfs = initramfs(&self.files, &self.kernel, &self.all_modules())?;
        let qemu = self.qemu(&initramfs);
        Machine::start(self, qemu)
    }

    fn all_modules(&self) -> Vec<&str> {
        let mut modules = MODULES.to_vec();
        modules.extend(self.modules.iter().map(String::as_str));
        modules.extend(self.nics.iter().map(|nic| match nic.model.as_str() {
            model if model.starts_with("virtio-net") => "virtio_net",
            model => model,
        }));
        if !self.cards.is_empty() {
            modules.push("mlx5_core");
        }
        modules
    }

    fn write(&self, name: &str, text: &str) -> Result<(), FilesError> {
        let path = self.directory.path().join(name);
        fs::write(&path, text).map_err(FilesError::file("write", &path))
    }

    fn script(&self) -> String {
        let quoted = |text: &String| format!("'{}'", text.replace('\'', r"'\''"));
        let mut script =
            "export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root\ncd /\n"
                .to_owned();
        for (name, value) in &self.environment {
            script += &format!("export {name}={}\n", quoted(value));
        }
        let words: Vec<_> = self.command.iter().map(quoted).collect();
        script + &format!("exec {}\n", words.join(" "))
    }

    /// Returns the folders to show, one per line: those that were asked for, and the source tree where it is
    /// hidden.
    fn visible_folders(&self) -> String {
        let project = self.files.path().ancestors().nth(2).map(Path::to_owned);
        let hidden = |folder: &&PathBuf| HIDDEN.iter().any(|hidden| folder.starts_with(hidden));
        let folders = project.iter().chain(&self.folders).filter(hidden);
        folders.map(|folder| format!("{}\n", folder.display())).collect()
    }

    fn qemu(&self, initramfs: &Path) -> Command {
        let mut command = self.files.qemu(self.kernel.architecture);
        let (machine, processor, console) = match self.kernel.architecture {
            Architecture::Amd64 => ("q35", "max", "ttyS0"),
            // Without this, pointer authentication takes most of the time.
            Architecture::Arm64 => ("virt", "max,pauth-impdef=on", "ttyAMA0"),
        };
        let memory = format!("{}M", self.memory_mib);
        let mut line = format!("console={console} {KERNEL_ARGUMENTS}");
        for argument in &self.kernel_arguments {
            line = line + " " + argument;
        }
        command
            .args([
                "-name",
                "xdp-machine",
                "-nodefaults",
                "-display",
                "none",
                "-no-reboot",
                "-accel",
                "tcg",
            ])
            .args([
                "-M",
                &format!("{machine},memory-backend=memory"),
                "-cpu",
                processor,
            ])
            .args(["-smp", &self.processors.to_string(), "-m", &memory])
            // The card maps the memory that it reads and writes.
            .args([
                "-object",
                &format!("memory-backend-memfd,id=memory,size={memory},share=on"),
            ])
            .arg("-kernel")
            .arg(&self.kernel.image)
            .arg("-initrd")
            .arg(initramfs)
            .args(["-append", &line])
            .args([
                "-chardev",
                "stdio,id=console,signal=off",
                "-serial",
                "chardev:console",
            ])
            .args(self.share("root", &self.files.guest_root(self.kernel.architecture)))
            .args(self.share("machine", self.directory.path()))
            .args(self.ports())
            .args(self.devices());
        command
    }

    fn share(&self, tag: &str, folder: &Path) -> [String; 2] {
        let path = folder.display().to_string().replace(',', ",,");
        let options = "security_model=none,readonly=on,multidevs=remap";
        [
            "-virtfs".to_owned(),
            format!("local,id={tag},mount_tag={tag},path={path},{options}"),
        ]
    }

    fn ports(&self) -> Vec<String> {
        let socket = |name: &str| {
            let path = self.directory.path().join(name);
            format!("socket,id={name},path={}", path.display())
        };
        let mut arguments = words([
            "-chardev",
            &socket("qmp"),
            "-object",
            "monitor-qmp,id=monitor,chardev=qmp",
        ]);
        arguments.extend(words(["-device", "virtio-serial-pci,id=ports,max_ports=8"]));
        for name in PORTS {
            let port = format!("virtserialport,bus=ports.0,chardev={name},name={name}");
            arguments.extend(words(["-chardev", &socket(name), "-device", &port]));
        }
        arguments
    }

    fn devices(&self) -> Vec<String> {
        let mut arguments = Vec::new();
        let ids = self.cards.iter().chain(self.nics.iter().map(|nic| &nic.id));
        for (slot, id) in ids.enumerate() {
            let slot = slot + 1;
            let port =
                format!("pcie-root-port,id=slot-{id},chassis={slot},slot={slot},x-speed=16,x-width=16");
            arguments.extend(words(["-device", &port]));
        }
        for id in &self.cards {
            let device = card_device(id, &card_socket(&self.directory, id)).to_string();
            arguments.extend(words(["-device", &device]));
        }
        for nic in &self.nics {
            arguments.extend(nic.arguments());
        }
        arguments
    }
}

impl QemuNic {
    fn arguments(&self) -> Vec<String> {
        let Self {
            id,
            model,
            mac,
            tap,
            queues,
            properties,
        } = self;
        let mut netdev = format!("tap,id=wire-{id},ifname={tap},script=no,downscript=no,vhost=off");
        let mut device = format!("{model},id={id},netdev=wire-{id},mac={mac},bus=slot-{id},romfile=");
        if *queues > 1 {
            netdev += &format!(",queues={queues}");
            if model.starts_with("virtio") {
                device += &format!(",mq=on,vectors={}", 2 * queues + 2);
            }
        }
        for property in properties {
            device += &format!(",{property}");
        }
        words(["-netdev", &netdev, "-device", &device])
    }
}

/// Returns QEMU's description of a card.
pub(super) fn card_device(id: &str, socket: &Path) -> Value {
    json!({
        "driver": "vfio-user-pci",
        "id": id,
        "bus": format!("slot-{id}"),
        "romfile": "",
        "socket": { "type": "unix", "path": socket },
    })
}

pub(super) fn card_socket(directory: &RunDirectory, id: &str) -> PathBuf {
    directory.path().join(format!("card-{id}"))
}

fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).to_vec()
}
