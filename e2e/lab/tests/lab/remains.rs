//! Nothing is left in the kernel after a lab, however it ends.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};
use xdp_lab::{HttpServer, Lab, wait_until};

use crate::{
    fixture::{SOON, fixture},
    traces::{Traces, Witness},
};

/// Set for the process that runs [`doomed`].
const DOOMED: &str = "XDP_LAB_TEST_DOOMED";

#[test]
fn nothing_is_left_after_drop() {
    let fixture = fixture();
    let traces = Traces::make(&fixture);
    let witness = Witness::of(&traces);
    assert!(traces.all_there());
    drop(fixture);
    assert!(!traces.dir.exists(), "{traces:?}");
    let zombie = Path::new("/proc").join(traces.processes[0].to_string());
    assert!(!zombie.exists(), "the lab waits for its children");
    witness.wait(&traces);
}

#[test]
fn the_script_at_the_end_finds_the_directory_and_no_processes() {
    let lab = Lab::new().unwrap();
    let mut command = Command::new("sleep");
    command.arg("1000");
    let process = lab.node().spawn(command).unwrap();
    let answer = std::env::temp_dir().join(format!("xdp-lab-{}-end", lab.id()));
    let script = format!(
        "{{ [ -d {}/ns ] && echo directory; [ -d /proc/{} ] && echo process; }} >{}",
        lab.dir().display(),
        process.id(),
        answer.display()
    );
    lab.at_end(&script).unwrap();
    drop(lab);
    let output = fs::read_to_string(&answer).unwrap();
    fs::remove_file(&answer).unwrap();
    assert_eq!(output, "directory\n");
}

#[test]
fn nothing_is_left_after_a_panic() {
    let (sender, traces) = std::sync::mpsc::channel();
    let test = std::thread::spawn(move || {
        let fixture = fixture();
        let _server = HttpServer::start(&fixture.ptp.ns, "127.0.0.1:0".parse().unwrap()).unwrap();
        let traces = Traces::make(&fixture);
        sender.send((Witness::of(&traces), traces)).unwrap();
        panic!("a test fails");
    });
    let (witness, traces) = traces.recv().unwrap();
    assert!(test.join().is_err());
    witness.wait(&traces);
}

#[test]
fn nothing_is_left_after_ctrl_c() {
    nothing_is_left_after(Signal::SIGINT);
}

#[test]
fn nothing_is_left_after_sigterm() {
    nothing_is_left_after(Signal::SIGTERM);
}

#[test]
fn nothing_is_left_after_sigkill() {
    nothing_is_left_after(Signal::SIGKILL);
}

#[test]
fn nothing_is_left_after_an_abort() {
    nothing_is_left_after(Signal::SIGABRT);
}

#[test]
fn a_sweep_removes_what_a_killed_guard_could_not() {
    a_sweep_removes_what_was_left(|_| {});
}

/// A process that removes a lab may die right after it has removed the lock.
#[test]
fn a_sweep_removes_labs_that_have_lost_their_lock() {
    a_sweep_removes_what_was_left(|traces| {
        // Other tests sweep too, at the start of their process: they may have been faster.
        let _ = fs::remove_file(traces.lock());
    });
}

fn a_sweep_removes_what_was_left(interfere: impl FnOnce(&Traces)) {
    let mut doomed = Doomed::start();
    end(doomed.guard(), Signal::SIGKILL);
    let witness = Witness::of(&doomed.traces);
    doomed.end(Signal::SIGKILL);
    interfere(&doomed.traces);
    Lab::sweep();
    witness.wait(&doomed.traces);
}

/// Each keeps its lock open while anything holds it.
#[test]
fn a_lab_that_ended_holds_nothing_open() {
    let fixture = fixture();
    let lock = fixture.lab.dir().with_extension("lock");
    let held = || {
        let open = fs::read_dir("/proc/self/fd").unwrap();
        open.filter_map(|fd| fs::read_link(fd.unwrap().path()).ok())
            .filter(|path| path.to_str().unwrap().starts_with(lock.to_str().unwrap()))
            .count()
    };
    // A sweep by another test of this process opens it for a short time.
    wait_until("it is held once", SOON, || held() == 1).unwrap();
    drop(fixture);
    wait_until("nothing holds it", SOON, || held() == 0).unwrap();
}

#[test]
fn a_sweep_leaves_living_labs_alone() {
    let fixture = fixture();
    let doomed = Doomed::start();
    let traces = Traces::make(&fixture);
    Lab::sweep();
    assert!(traces.all_there() && doomed.traces.all_there());
}

#[test]
fn labs_of_one_process_end_independently() {
    let (one, other) = (fixture(), fixture());
    let (gone, there) = (Traces::make(&one), Traces::make(&other));
    drop(one);
    wait_until("the one is gone", SOON, || gone.all_gone()).unwrap();
    assert!(there.all_there());
}

fn nothing_is_left_after(signal: Signal) {
    let mut doomed = Doomed::start();
    let witness = Witness::of(&doomed.traces);
    assert!(doomed.traces.all_there());
    // The guard leaves the process group before it sets its name.
    doomed.guard();
    doomed.end_group(signal);
    witness.wait(&doomed.traces);
    assert_eq!(doomed.guards(), []);
}

/// Another process with a lab.
struct Doomed {
    child: Child,
    _stdout: BufReader<ChildStdout>,
    traces: Traces,
}

impl Doomed {
    fn start() -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "remains::doomed", "--ignored", "--nocapture"])
            .env(DOOMED, "1")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.starts_with("doomed ") {
            line.clear();
            assert!(stdout.read_line(&mut line).unwrap() > 0);
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        let traces = Traces {
            dir: words[1].into(),
            node: words[2].into(),
            processes: words[3..].iter().map(|pid| pid.parse().unwrap()).collect(),
        };
        Self {
            child,
            _stdout: stdout,
            traces,
        }
    }

    fn guards(&self) -> Vec<u32> {
        let children = fs::read_dir("/proc").unwrap().filter_map(|entry| {
            let entry = entry.ok()?;
            let status = fs::read_to_string(entry.path().join("status")).ok()?;
            let parent = format!("PPid:\t{}\n", self.child.id());
            (status.starts_with("Name:\txdp-lab-guard\n") && status.contains(&parent))
                .then(|| entry.file_name().to_str()?.parse().ok())?
        });
        children.collect()
    }

    /// Waits until the guard has set its name, and returns its id.
    fn guard(&self) -> u32 {
        wait_until("it has one guard", SOON, || self.guards().len() == 1).unwrap();
        self.guards()[0]
    }

    /// Signals the process group, as a terminal does on Ctrl-C.
    fn end_group(&mut self, signal: Signal) {
        killpg(Pid::from_raw(self.child.id() as i32), signal).unwrap();
        self.child.wait().unwrap();
    }

    fn end(&mut self, signal: Signal) {
        end(self.child.id(), signal);
        self.child.wait().unwrap();
    }
}

impl Drop for Doomed {
    fn drop(&mut self) {
        // Not waited for yet, so the id still belongs to it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Not a test: the process that [`Doomed`] starts.
#[test]
#[ignore = "runs until it is killed; other tests start it"]
fn doomed() {
    if std::env::var_os(DOOMED).is_none() {
        return;
    }
    let fixture = fixture();
    let traces = Traces::make(&fixture);
    let pids: Vec<String> = traces.processes.iter().map(u32::to_string).collect();
    println!(
        "\ndoomed {} {} {}",
        traces.dir.display(),
        traces.node.display(),
        pids.join(" ")
    );
    // Ends with the test that started it, at the latest.
    let _ = std::io::stdin().read_line(&mut String::new());
}

fn end(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid as i32), signal).unwrap();
}
