//! A machine boots, runs a command in the host's root, and leaves nothing.

use std::{
    env,
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use xdp_connectx::{
    Card, Profile,
    machine::{
        Architecture, Kernel, KernelSeries, Machine, MachineError, MachineFiles, MachineLimits, QemuNic,
    },
};

/// Set in the process that a test kills.
const VICTIM: &str = "MACHINE_TEST_VICTIM";
const LIMITS: MachineLimits = MachineLimits {
    silence: Duration::from_mins(2),
    total: Duration::from_mins(5),
};

/// Finds the network device of a driver, and waits for its carrier.
const FIND: &str = r#"
find() {
    for device in /sys/class/net/*; do
        case $(readlink -f "$device/device/driver" 2>/dev/null) in */drivers/$1) echo "$device" ;; esac
    done
}
wait_for() {
    until nic=$(find "$1") && [ -n "$nic" ]; do sleep 0.1; done
    ip link set "${nic##*/}" up || exit 3
    until [ "$(cat "$nic/carrier")" = 1 ]; do sleep 0.1; done
}
"#;

/// Waits for a card and its carrier, reads a line from the port and writes one there; then removes the card
/// and finds it again.
const WITH_CARD: &str = r#"
exec 3<>/dev/virtio-ports/peer
[ -z "$(find mlx5_core)" ] && echo "no card" >&3
wait_for mlx5_core
read -r line <&3
echo "carrier of $(cat "$nic/address"), the host says $line, $1 $GREETING"
echo "$(uname -r)" >&3
slot=$(readlink -f "$nic/device")
echo 1 >"$slot/remove"
while [ -e "$nic" ]; do sleep 0.1; done
echo 1 >/sys/bus/pci/rescan
wait_for mlx5_core
cat "$FOLDER/fact"
touch /run/xdp-lab && touch /tmp/x && ! touch /x 2>/dev/null && exit 42
"#;

const WITH_QEMU_NICS: &str = r#"
for driver in igb vmxnet3 virtio_net; do
    wait_for "$driver" && echo "$driver $(cat "$nic/address") $(ls -d "$nic"/queues/rx-* | wc -l)"
done
"#;

fn newest() -> (MachineFiles, Kernel) {
    let files = MachineFiles::of_project();
    let kernel = files.kernel(KernelSeries::Newest, Architecture::Amd64);
    let kernel = kernel.unwrap_or_else(|error| panic!("{error}"));
    (files, kernel)
}

fn alive(pid: u32) -> bool {
    // A process that nothing waits for stays as a zombie.
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// Returns a network namespace with tap interfaces, which lives as long as something refers to it.
fn namespace_with_taps(taps: &'static [(&str, bool)]) -> File {
    let ip = |arguments: &[&str]| {
        let status = Command::new("ip").args(arguments).status();
        assert!(status.is_ok_and(|status| status.success()), "ip {arguments:?}");
    };
    let create = move || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)?;
        for (tap, multi_queue) in taps {
            let mut create = vec!["tuntap", "add", tap, "mode", "tap"];
            create.extend(multi_queue.then_some("multi_queue"));
            ip(&create);
            ip(&["link", "set", tap, "up"]);
        }
        File::open("/proc/thread-self/ns/net")
    };
    thread::scope(|scope| scope.spawn(create).join())
        .expect("it does not panic")
        .expect("this test runs as root")
}

#[test]
fn a_command_runs_in_the_hosts_root_with_a_card_and_a_port() {
    let (files, kernel) = newest();
    // Below /tmp, which is another one in the guest.
    let folder = env::temp_dir().join(format!("machine-test-{}", std::process::id()));
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("fact"), "water is wet").unwrap();
    let log = folder.join("log");
    let mut machine = Machine::builder(&files, &kernel)
        .unwrap()
        .slot("nic0")
        .command(
            "/bin/sh",
            ["-c", &format!("{FIND}{WITH_CARD}"), "sh", "it's an argument"],
        )
        .env("GREETING", "and a \"variable\"")
        .env("FOLDER", folder.display().to_string())
        .folder(&folder)
        .log(&log)
        .start()
        .unwrap();
    let (id, peer) = (machine.id(), machine.peer().unwrap());
    peer.set_read_timeout(Some(LIMITS.silence)).unwrap();
    let mut lines = BufReader::new(&peer).lines().map_while(Result::ok);
    assert_eq!(lines.next().as_deref(), Some("no card"));
    let socket = machine.card_socket("nic0");
    let card = Card::insert(&socket, Profile::CONNECTX_6_DX).unwrap();
    machine.insert_card("nic0").unwrap();
    writeln!(&peer, "hello").unwrap();
    assert_eq!(lines.next(), Some(kernel.release));
    assert!(matches!(machine.remove("nic0"), Err(MachineError::Unplug { .. })));
    let result = machine.wait(LIMITS);
    let text = fs::read_to_string(&log).unwrap();
    fs::remove_dir_all(&folder).unwrap();
    let result = result.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((result.code, result.warnings), (42, vec![]), "{text}");
    let said = machine.output().join("\n");
    assert!(
        said.contains("the host says hello, it's an argument and a \"variable\""),
        "{said}"
    );
    assert!(said.contains("carrier of 02:15:b3:00:00:01"), "{said}");
    assert!(said.contains("water is wet"), "{said}");
    assert!(text.contains("mlx5_core"), "{text}");
    assert!(card.findings().is_empty(), "{:?}", card.findings());
    drop(machine);
    assert!(!alive(id) && !socket.parent().unwrap().exists());
}

#[test]
fn qemus_own_network_devices_have_a_tap_as_their_wire() {
    let (files, kernel) = newest();
    let namespace = namespace_with_taps(&[("igb", false), ("vmxnet3", false), ("virtio", true)]);
    let nic = |model: &str, tap: &str, number: u32, queues| QemuNic {
        id: format!("nic-{tap}"),
        model: model.to_owned(),
        mac: format!("52:54:00:00:00:0{number}"),
        tap: tap.to_owned(),
        queues,
        properties: vec![],
    };
    let mut machine = Machine::builder(&files, &kernel)
        .unwrap()
        .namespace(namespace)
        .nic(nic("igb", "igb", 1, 1))
        .nic(nic("vmxnet3", "vmxnet3", 2, 1))
        .nic(QemuNic {
            properties: vec!["ctrl_guest_offloads=off".to_owned()],
            ..nic("virtio-net-pci", "virtio", 3, 2)
        })
        .command("/bin/sh", ["-c", &format!("{FIND}{WITH_QEMU_NICS}")])
        .start()
        .unwrap();
    machine
        .wait_for_success(LIMITS)
        .unwrap_or_else(|error| panic!("{error}"));
    let output = machine.output();
    assert!(
        output[0].starts_with("igb 52:54:00:00:00:01 ")
            && output[1].starts_with("vmxnet3 52:54:00:00:00:02 ")
    );
    assert_eq!(output[2], "virtio_net 52:54:00:00:00:03 2");
}

#[test]
fn a_kernel_warning_fails_the_machine() {
    let (files, kernel) = newest();
    // The kernel's own way to panic: the machine ends without a result.
    let script = "echo 1 >/proc/sys/kernel/sysrq; echo c >/proc/sysrq-trigger; sleep 1000";
    let machine = Machine::builder(&files, &kernel)
        .unwrap()
        .command("/bin/sh", ["-c", script])
        .start();
    let error = machine.unwrap().wait(LIMITS).unwrap_err();
    let MachineError::NoResult { warnings, .. } = &error else {
        panic!("{error}")
    };
    assert!(
        warnings.iter().any(|warning| warning.contains("Kernel panic")),
        "{error}"
    );
}

#[test]
fn a_machine_without_its_card_does_not_start() {
    let (files, kernel) = newest();
    let mut builder = Machine::builder(&files, &kernel).unwrap();
    let socket = builder.card("nic0");
    let error = builder.start().unwrap_err();
    assert!(
        matches!(&error, MachineError::Start { printed } if printed.contains("nic0")),
        "{error}"
    );
    assert!(!socket.parent().unwrap().exists());
}

#[test]
fn a_machine_ends_with_a_process_that_is_killed() {
    if env::var_os(VICTIM).is_some() {
        let (files, kernel) = newest();
        let machine = Machine::builder(&files, &kernel)
            .unwrap()
            .command("/bin/sleep", ["1000"])
            .start()
            .unwrap();
        println!("\nQEMU {}", machine.id());
        thread::sleep(Duration::from_secs(1000));
    }
    let name = "a_machine_ends_with_a_process_that_is_killed";
    let mut victim = Command::new(env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(VICTIM, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(victim.stdout.take().unwrap()).lines();
    let id = lines
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("QEMU ")?.parse().ok());
    let id: u32 = id.expect("the victim prints the id of its QEMU");
    assert!(alive(id));
    victim.kill().unwrap();
    victim.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while alive(id) {
        assert!(Instant::now() < deadline, "QEMU {id} is still running");
        thread::yield_now();
    }
    // The next machine removes the folder of the killed process.
    let (files, kernel) = newest();
    drop(Machine::builder(&files, &kernel).unwrap());
    let folder = env::temp_dir().join(format!("xdp-machine-{}-0", victim.id()));
    assert!(!Path::new(&folder).exists());
}
