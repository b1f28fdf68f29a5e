//! A machine boots, runs a command in the host's root, and leaves nothing.

use std::{
    env, fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use xdp_connectx::{
    Card, Profile,
    machine::{Architecture, Kernel, KernelSeries, Machine, MachineError, MachineFiles, MachineLimits},
};

/// Set in the process that a test kills.
const VICTIM: &str = "MACHINE_TEST_VICTIM";
const LIMITS: MachineLimits = MachineLimits {
    silence: Duration::from_secs(120),
    total: Duration::from_secs(300),
};

/// Waits for the driver's carrier, reads a line from the port and writes one there.
const SCRIPT: &str = r#"
for device in /sys/class/net/*; do
    [ "$(readlink "$device/device/driver")" != "${device%/*}" ] || continue
    case $(readlink -f "$device/device/driver" 2>/dev/null) in */mlx5_core) nic=$device ;; esac
done
ip link set "${nic##*/}" up || exit 3
until [ "$(cat "$nic/carrier")" = 1 ]; do sleep 0.1; done
exec 3<>/dev/virtio-ports/peer
read -r line <&3
echo "carrier of $(cat "$nic/address"), the host says $line, $1 $GREETING"
echo "$(uname -r)" >&3
touch /run/xdp-lab && touch /tmp/x && ! touch /x 2>/dev/null && exit 42
"#;

fn newest() -> (MachineFiles, Kernel) {
    let files = MachineFiles::of_project();
    let kernel = files.kernel(KernelSeries::Newest, Architecture::Amd64).unwrap();
    (files, kernel)
}

fn alive(pid: u32) -> bool {
    // A process that nothing waits for stays as a zombie.
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn a_command_runs_in_the_hosts_root_with_a_card_and_a_port() {
    let (files, kernel) = newest();
    let log = env::temp_dir().join(format!("machine-test-{}.log", std::process::id()));
    let mut builder = Machine::builder(&files, &kernel).unwrap();
    let socket = builder.card("nic0");
    let card = Card::insert(&socket, Profile::CONNECTX_6_DX).unwrap();
    let mut machine = builder
        .command("/bin/sh", ["-c", SCRIPT, "sh", "it's an argument"])
        .env("GREETING", "and a \"variable\"")
        .log(&log)
        .start()
        .unwrap();
    let (id, peer) = (machine.id(), machine.peer().unwrap());
    writeln!(&peer, "hello").unwrap();
    let mut release = String::new();
    BufReader::new(&peer).read_line(&mut release).unwrap();
    let result = machine.wait(LIMITS);
    let text = fs::read_to_string(&log).unwrap();
    fs::remove_file(&log).unwrap();
    let result = result.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(release.trim_end(), kernel.release);
    assert_eq!((result.code, result.warnings), (42, vec![]), "{text}");
    let said = machine.output().join("\n");
    assert!(
        said.contains("the host says hello, it's an argument and a \"variable\""),
        "{said}"
    );
    assert!(said.contains("carrier of 02:15:b3:00:00:01"), "{said}");
    assert!(text.contains("mlx5_core"), "{text}");
    assert!(card.findings().is_empty(), "{:?}", card.findings());
    drop(machine);
    assert!(!alive(id) && !socket.parent().unwrap().exists());
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
        std::thread::sleep(Duration::from_secs(1000));
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
        std::thread::yield_now();
    }
    // The next machine removes the folder of the killed process.
    let (files, kernel) = newest();
    drop(Machine::builder(&files, &kernel).unwrap());
    let folder = env::temp_dir().join(format!("xdp-machine-{}-0", victim.id()));
    assert!(!Path::new(&folder).exists());
}
