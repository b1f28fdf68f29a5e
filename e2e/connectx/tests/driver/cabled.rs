//! Every card of the model, two and two with a cable between them: the driver at both ends.

use std::{
    env,
    fs::{self, File},
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use nix::sched::{CloneFlags, setns};
use xdp_connectx::{
    Card, Profile,
    machine::{Architecture, KernelSeries, Machine, MachineFiles, MachineLimits},
};

const LIMITS: MachineLimits = MachineLimits {
    silence: Duration::from_mins(2),
    total: Duration::from_mins(5),
};
const PATIENCE: Duration = Duration::from_mins(1);
const BYTES: usize = 2 << 20;

fn mac(number: usize) -> [u8; 6] {
    [0x02, 0x15, 0xb3, 0, 1, number as u8]
}

/// What the one end sends and the other sends back.
fn data() -> Vec<u8> {
    (0..BYTES).map(|at| (at * 7 / 5) as u8).collect()
}

#[test]
fn every_card_works_with_the_driver_at_both_ends_of_a_cable() {
    let files = MachineFiles::of_project();
    let kernel = files.kernel(KernelSeries::Newest, Architecture::Amd64).unwrap();
    let mut builder = Machine::builder(&files, &kernel).unwrap();
    let cards: Vec<Card> = (0..Profile::ALL.len())
        .map(|number| {
            let profile = Profile::ALL[number].clone().with_mac(mac(number));
            Card::insert(&builder.card(&format!("nic{number}")), profile).unwrap()
        })
        .collect();
    let (pairs, rest) = cards.as_chunks::<2>();
    assert!(rest.is_empty());
    for [one, other] in pairs {
        Card::cable(one, other);
    }
    let program = env::current_exe().unwrap().display().to_string();
    let test = ["cabled::in_the_guest", "--exact", "--ignored", "--nocapture"];
    let mut machine = builder.command(&program, test).start().unwrap();
    machine
        .wait_for_success(LIMITS)
        .unwrap_or_else(|error| panic!("{error}"));
    for [one, other] in pairs {
        let counters = [one.counters(), other.counters()];
        for (sent, received) in [(0, 1), (1, 0)] {
            let (sent, received) = (&counters[sent], &counters[received]);
            assert_eq!(sent.sent, received.received + received.link_down);
            assert!(sent.segmented > 0, "{sent:?}");
        }
        assert_eq!((one.findings(), other.findings()), (vec![], vec![]));
    }
}

fn ip(line: &str) {
    let status = Command::new("ip").args(line.split(' ')).status().unwrap();
    assert!(status.success(), "ip {line}");
}

fn name(number: usize) -> String {
    let wanted = mac(number).map(|byte| format!("{byte:02x}")).join(":");
    let folders = fs::read_dir("/sys/class/net").unwrap();
    let mut paths = folders.map(|entry| entry.unwrap().path());
    let has = |path: &PathBuf| fs::read_to_string(path.join("address")).is_ok_and(|mac| mac.trim() == wanted);
    let path = paths.find(has).unwrap();
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

/// Moves a NIC into a network namespace of its own.
fn configure(number: usize, address: &str) -> String {
    let (nic, namespace) = (name(number), format!("end{number}"));
    ip(&format!("netns add {namespace}"));
    ip(&format!("link set {nic} netns {namespace}"));
    ip(&format!("-n {namespace} address add {address}/24 dev {nic}"));
    ip(&format!("-n {namespace} link set {nic} up"));
    namespace
}

/// Moves the calling thread into a namespace.
fn enter(namespace: &str) {
    setns(
        File::open(format!("/run/netns/{namespace}")).unwrap(),
        CloneFlags::CLONE_NEWNET,
    )
    .unwrap();
}

/// Connects once the other end has its carrier and its address.
fn connect(to: &str) -> TcpStream {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match TcpStream::connect((to, 7)) {
            Ok(stream) => return stream,
            Err(error) => assert!(Instant::now() < deadline, "{to}: {error}"),
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// The guest's part of the test: a transfer through each cable, there and back.
#[test]
#[ignore = "runs in the guest"]
fn in_the_guest() {
    for one in (0..Profile::ALL.len()).step_by(2) {
        let near = configure(one, "10.9.0.1");
        let far = configure(one + 1, "10.9.0.2");
        let server = thread::spawn(move || {
            enter(&far);
            let listener = TcpListener::bind("10.9.0.2:7").unwrap();
            let (mut stream, _) = listener.accept().unwrap();
            let mut received = vec![0; BYTES];
            stream.read_exact(&mut received).unwrap();
            stream.write_all(&received).unwrap();
        });
        enter(&near);
        let mut stream = connect("10.9.0.2");
        stream.write_all(&data()).unwrap();
        let mut back = vec![0; BYTES];
        stream.read_exact(&mut back).unwrap();
        assert!(back == data(), "cable {one}: other bytes came back");
        server.join().unwrap();
        setns(File::open("/proc/1/ns/net").unwrap(), CloneFlags::CLONE_NEWNET).unwrap();
        println!("cable {one}: {BYTES} bytes there and back");
    }
}
