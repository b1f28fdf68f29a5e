//! QEMU's command line for a machine.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

use super::{Architecture, MachineBuilder, run_directory::RunDirectory};

/// The names of the virtio-serial ports.
pub(super) const PORTS: [&str; 3] = ["result", "output", "peer"];
/// A warning ends the machine. The limits of the watchdogs are those of an emulated processor on a busy host,
/// where Linux 6.1 also finds that the timer does not work (`check_timer`, `arch/x86/kernel/apic/io_apic.c`).
const KERNEL_ARGUMENTS: &str = "loglevel=7 panic=-1 oops=panic panic_on_warn=1 watchdog_thresh=60 \
    no_timer_check rcupdate.rcu_cpu_stall_timeout=120 random.trust_cpu=on";

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

/// Returns the command that starts a machine with this initramfs.
pub(super) fn command(machine: &MachineBuilder, initramfs: &Path) -> Command {
    let architecture = machine.kernel.architecture;
    let mut command = machine.files.qemu(architecture);
    command.args(["-nodefaults", "-no-reboot"]);
    command
        .arg("-kernel")
        .arg(&machine.kernel.image)
        .arg("-initrd")
        .arg(initramfs);
    let mut options = board(machine);
    options.push(share("machine", machine.directory.path()));
    options.push(share("host", Path::new("/")));
    if let Some(root) = machine.files.guest_root(architecture) {
        options.push(share("root", &root));
    }
    options.extend(ports(machine));
    options.extend(devices(machine));
    for (option, value) in options {
        command.arg(option).arg(value);
    }
    command
}

type QemuOption = (&'static str, String);

fn board(machine: &MachineBuilder) -> Vec<QemuOption> {
    let (board, processor, console) = match machine.kernel.architecture {
        Architecture::Amd64 => ("q35", "max", "ttyS0"),
        // Without this, pointer authentication takes most of the time.
        Architecture::Arm64 => ("virt", "max,pauth-impdef=on", "ttyAMA0"),
    };
    let memory = format!("{}M", machine.memory_mib);
    let further = machine.kernel_arguments.join(" ");
    vec![
        ("-name", "xdp-machine".into()),
        ("-display", "none".into()),
        ("-accel", "tcg".into()),
        ("-machine", format!("{board},memory-backend=memory")),
        ("-cpu", processor.into()),
        ("-smp", machine.processors.to_string()),
        ("-m", memory.clone()),
        // Shared, because the card maps the memory that it reads and writes.
        (
            "-object",
            format!("memory-backend-memfd,id=memory,size={memory},share=on"),
        ),
        (
            "-append",
            format!("console={console} {KERNEL_ARGUMENTS} {further}"),
        ),
        ("-chardev", "stdio,id=console,signal=off".into()),
        ("-serial", "chardev:console".into()),
    ]
}

fn share(tag: &str, folder: &Path) -> QemuOption {
    let path = folder.display().to_string().replace(',', ",,");
    let options = "security_model=none,readonly=on,multidevs=remap";
    (
        "-virtfs",
        format!("local,id={tag},mount_tag={tag},path={path},{options}"),
    )
}

fn ports(machine: &MachineBuilder) -> Vec<QemuOption> {
    let socket = |name: &str| {
        let path = machine.directory.path().join(name);
        ("-chardev", format!("socket,id={name},path={}", path.display()))
    };
    let port = |name| {
        (
            "-device",
            format!("virtserialport,bus=ports.0,chardev={name},name={name}"),
        )
    };
    let mut options = vec![
        socket("qmp"),
        ("-object", "monitor-qmp,id=monitor,chardev=qmp".into()),
        ("-device", "virtio-serial-pci,id=ports,max_ports=8".into()),
    ];
    options.extend(PORTS.into_iter().flat_map(|name| [socket(name), port(name)]));
    options
}

fn devices(machine: &MachineBuilder) -> Vec<QemuOption> {
    let ids = machine.slots.iter().chain(machine.nics.iter().map(|nic| &nic.id));
    // A slot that is empty at the start has no room for the registers of a card otherwise.
    let slot = |(position, id): (usize, &String)| {
        let slot = position + 1;
        let number = format!("chassis={slot},slot={slot}");
        (
            "-device",
            format!("pcie-root-port,id=slot-{id},{number},x-speed=16,x-width=16,pref64-reserve=32M"),
        )
    };
    let card = |id: &String| {
        (
            "-device",
            card_device(id, &card_socket(&machine.directory, id)).to_string(),
        )
    };
    let slots = ids.enumerate().map(slot);
    let nics = machine.nics.iter().flat_map(QemuNic::options);
    slots.chain(machine.cards.iter().map(card)).chain(nics).collect()
}

impl QemuNic {
    fn options(&self) -> [QemuOption; 2] {
        let Self {
            id,
            model,
            mac,
            tap,
            queues,
            ..
        } = self;
        let wire = format!("tap,id=wire-{id},ifname={tap},script=no,downscript=no,vhost=off,queues={queues}");
        let mut device = format!("{model},id={id},netdev=wire-{id},mac={mac},bus=slot-{id},romfile=");
        if *queues > 1 && model.starts_with("virtio") {
            // Two interrupts for each pair, one for the configuration and one for control.
            device = device + ",mq=on,vectors=" + &(2 * queues + 2).to_string();
        }
        for property in &self.properties {
            device = device + "," + property;
        }
        [("-netdev", wire), ("-device", device)]
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
