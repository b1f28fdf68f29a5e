//! What a machine consists of.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use super::{
    FilesError, Kernel, MODULES, Machine, MachineError, MachineFiles, QemuNic,
    initramfs::initramfs,
    qemu::{card_socket, command},
    run_directory::RunDirectory,
};

/// Folders of the guest that are empty file systems of its own.
const HIDDEN: [&str; 3] = ["/tmp", "/run", "/mnt"];
/// A machine that is not started yet.
#[derive(Debug)]
pub struct MachineBuilder {
    pub(super) files: MachineFiles,
    pub(super) kernel: Kernel,
    pub(super) directory: RunDirectory,
    pub(super) memory_mib: u32,
    pub(super) processors: u32,
    modules: Vec<String>,
    pub(super) kernel_arguments: Vec<String>,
    /// The names of the slots for cards.
    pub(super) slots: Vec<String>,
    /// Those that have a card from the start.
    pub(super) cards: Vec<String>,
    pub(super) nics: Vec<QemuNic>,
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
            slots: Vec::new(),
            cards: Vec::new(),
            nics: Vec::new(),
            namespace: None,
            log: None,
            command: vec!["true".to_owned()],
            environment: Vec::new(),
            folders: Vec::new(),
        })
    }

    /// Returns the kernel that it boots.
    pub fn kernel(&self) -> &Kernel {
        &self.kernel
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

    /// Adds an empty PCIe slot for [`Machine::insert_card`].
    #[must_use]
    pub fn slot(mut self, id: &str) -> Self {
        self.slots.push(id.to_owned());
        self
    }

    /// Adds a PCIe slot with a card, and returns the socket on which the card must listen before the start.
    pub fn card(&mut self, id: &str) -> PathBuf {
        self.slots.push(id.to_owned());
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
    ///
    /// A guest of another architecture has only these folders and the source tree.
    #[must_use]
    pub fn folder(mut self, path: impl Into<PathBuf>) -> Self {
        self.folders.push(path.into());
        self
    }

    /// Starts it. Returns when QEMU runs; the kernel may still be booting.
    pub fn start(self) -> Result<Machine, MachineError> {
        self.write("command", &self.script())?;
        self.write("folders", &self.visible_folders()?)?;
        let initramfs = initramfs(&self.files, &self.kernel, &self.all_modules())?;
        let qemu = command(&self, &initramfs);
        Machine::start(self, qemu)
    }

    fn all_modules(&self) -> Vec<&str> {
        let mut modules = MODULES.to_vec();
        modules.extend(self.modules.iter().map(String::as_str));
        modules.extend(self.nics.iter().map(|nic| match nic.model.as_str() {
            model if model.starts_with("virtio-net") => "virtio_net",
            model => model,
        }));
        if !self.slots.is_empty() {
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
        let mut lines = vec![
            "export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root".to_owned(),
            "cd /".to_owned(),
        ];
        let variables = self.environment.iter();
        lines.extend(variables.map(|(name, value)| format!("export {name}={}", quoted(value))));
        let words: Vec<_> = self.command.iter().map(quoted).collect();
        lines.push(format!("exec {}\n", words.join(" ")));
        lines.join("\n")
    }

    /// Returns the folders of the host to show, one per line: the source tree, the program's and others,
    /// where the guest does not have them anyway.
    fn visible_folders(&self) -> Result<String, FilesError> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
        let program = Path::new(&self.command[0]).parent();
        let wanted = source
            .into_iter()
            .chain(program)
            .chain(self.folders.iter().map(PathBuf::as_path));
        let hidden = |folder: &&Path| HIDDEN.iter().any(|hidden| folder.starts_with(hidden));
        let folders: Vec<&Path> = match self.files.guest_root(self.kernel.architecture) {
            None => wanted.filter(hidden).collect(),
            Some(root) => {
                let folders = source
                    .into_iter()
                    .chain(self.folders.iter().map(PathBuf::as_path));
                let folders: Vec<_> = folders.collect();
                for folder in &folders {
                    // The guest cannot create the folder: its root is read-only.
                    let place = root.join(folder.strip_prefix("/").unwrap_or(folder));
                    fs::create_dir_all(&place).map_err(FilesError::file("create", &place))?;
                }
                folders
            }
        };
        Ok(folders
            .iter()
            .map(|folder| folder.display().to_string() + "\n")
            .collect())
    }
}
