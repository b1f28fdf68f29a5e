//! Which modules a machine loads, and in which order.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use super::{FilesError, Kernel, MachineFiles};

/// The modules that every machine loads: its ports and the host's root, and what the agent and the lab use.
///
/// Parameters follow the name. A module with a question mark is left out where the kernel does not have it.
pub const MODULES: [&str; 13] = [
    "virtio_pci",
    "virtio_console",
    "9p",
    "9pnet_virtio",
    "veth",
    "cls_bpf",
    "sch_ingress",
    "8021q",
    "bridge",
    "bonding max_bonds=0",
    "tun",
    // Until 6.12, nf_conntrack needs it, and no dependency says so.
    "?crc32c_generic",
    "nf_conntrack",
];

/// A module does not exist in a kernel.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the kernel {release} has no module `{module}`")]
pub struct NoModule {
    module: String,
    release: String,
}

/// The modules of a kernel and what each depends on.
#[derive(Debug)]
pub(super) struct ModuleIndex {
    release: String,
    /// By name: the file and the files that it depends on.
    modules: BTreeMap<String, (String, Vec<String>)>,
    builtin: BTreeSet<String>,
}

impl ModuleIndex {
    /// Reads the index that depmod made.
    pub(super) fn read(kernel: &Kernel) -> Result<Self, FilesError> {
        let read = |name: &str| {
            let path = kernel.modules.join(name);
            fs::read_to_string(&path).map_err(FilesError::file("read", &path))
        };
        Ok(Self::parse(
            &kernel.release,
            &read("modules.dep")?,
            &read("modules.builtin")?,
        ))
    }

    fn parse(release: &str, dependencies: &str, builtin: &str) -> Self {
        let line = |line: &str| {
            let (file, needs) = line.split_once(':')?;
            let needs = needs.split_whitespace().map(str::to_owned).collect();
            Some((name(file), (file.to_owned(), needs)))
        };
        Self {
            release: release.to_owned(),
            modules: dependencies.lines().filter_map(line).collect(),
            builtin: builtin.lines().map(name).collect(),
        }
    }

    /// Returns the files of modules in the order in which they load, each once, after those that it depends
    /// on, and each with its parameters.
    pub(super) fn order<'a>(&'a self, wanted: &[&'a str]) -> Result<Vec<(&'a str, &'a str)>, NoModule> {
        let (mut files, mut parameters) = (Vec::new(), BTreeMap::new());
        for module in wanted {
            let (module, optional) = module
                .strip_prefix('?')
                .map_or((*module, false), |module| (module, true));
            let (module, its_parameters) = module.split_once(' ').unwrap_or((module, ""));
            let module = name(module);
            if !optional || self.modules.contains_key(&module) {
                self.add(&module, &mut files)?;
                parameters.insert(module, its_parameters);
            }
        }
        let with_parameters = |file| (file, parameters.get(&name(file)).copied().unwrap_or_default());
        Ok(files.into_iter().map(with_parameters).collect())
    }

    fn add<'a>(&'a self, module: &str, files: &mut Vec<&'a str>) -> Result<(), NoModule> {
        let Some((file, needs)) = self.modules.get(module) else {
            return if self.builtin.contains(module) {
                Ok(())
            } else {
                Err(NoModule {
                    module: module.to_owned(),
                    release: self.release.clone(),
                })
            };
        };
        for needed in needs {
            self.add(&name(needed), files)?;
        }
        if !files.contains(&file.as_str()) {
            files.push(file);
        }
        Ok(())
    }
}

/// Returns the name of a module from its file, as the kernel writes it: `nf_tables` for
/// `net/nf-tables.ko.xz`.
pub(super) fn name(file: &str) -> String {
    let base = file.rsplit('/').next().unwrap_or(file);
    base.split(".ko").next().unwrap_or(base).replace('-', "_")
}

/// Returns the content of a module, decompressed.
pub(super) fn content(files: &MachineFiles, path: &Path) -> Result<Vec<u8>, FilesError> {
    let program = match path.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        _ => return fs::read(path).map_err(FilesError::file("read", path)),
    };
    let mut command = files.program(&format!("usr/bin/{program}"), program);
    let output = command.args(["--decompress", "--stdout"]).arg(path).output();
    let output = output.map_err(FilesError::file("decompress", path))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(FilesError::file("decompress", path)(std::io::Error::other(
        message,
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEPENDENCIES: &str = "\
drivers/mlx5_core.ko.xz: kernel/net/tls/tls.ko.xz kernel/drivers/mlxfw.ko.xz kernel/net/psample.ko.xz
kernel/drivers/mlxfw.ko.xz:
kernel/net/psample.ko.xz:
kernel/net/tls/tls.ko.xz:
kernel/net/bridge/bridge.ko: kernel/net/802/stp.ko kernel/net/llc/llc.ko
kernel/net/802/stp.ko: kernel/net/llc/llc.ko
kernel/net/llc/llc.ko:
kernel/crypto/crc32c-intel.ko.zst:
";

    fn index() -> ModuleIndex {
        ModuleIndex::parse("6.12", DEPENDENCIES, "kernel/drivers/virtio/virtio_pci.ko\n")
    }

    fn names(wanted: &[&str]) -> Vec<String> {
        index()
            .order(wanted)
            .unwrap()
            .into_iter()
            .map(|(file, _)| name(file))
            .collect()
    }

    #[test]
    fn a_module_loads_after_those_that_it_depends_on() {
        assert_eq!(names(&["bridge"]), ["llc", "stp", "bridge"]);
    }

    #[test]
    fn a_module_loads_once() {
        assert_eq!(
            names(&["psample", "mlx5_core", "tls"]),
            ["psample", "tls", "mlxfw", "mlx5_core"]
        );
    }

    #[test]
    fn a_module_has_its_parameters_and_no_other_has_them() {
        let index = index();
        let files = index.order(&["bridge max=0 debug=1"]).unwrap();
        let parameters: Vec<_> = files.into_iter().map(|(_, parameters)| parameters).collect();
        assert_eq!(parameters, ["", "", "max=0 debug=1"]);
    }

    #[test]
    fn a_built_in_module_needs_no_file() {
        assert!(names(&["virtio_pci"]).is_empty());
    }

    #[test]
    fn a_missing_module_is_named_with_its_kernel() {
        let error = index().order(&["crc32c_intel", "vmxnet3"]).unwrap_err();
        assert_eq!(error.to_string(), "the kernel 6.12 has no module `vmxnet3`");
    }

    #[test]
    fn an_optional_module_may_be_missing() {
        assert_eq!(names(&["?vmxnet3", "?llc"]), ["llc"]);
    }

    #[test]
    fn a_dash_in_a_file_name_is_an_underscore_in_the_module_name() {
        assert_eq!(names(&["crc32c_intel"]), names(&["crc32c-intel"]));
        assert_eq!(names(&["crc32c_intel"]), ["crc32c_intel"]);
    }
}
