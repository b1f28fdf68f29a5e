//! A tenant that attacks the control plane, at random, with all that it may write in its namespace: another
//! tenant's address sets follow its pods as before. `MINUTES=60 make soak-tenant` does it for an hour.

use std::{
    collections::BTreeMap,
    env,
    net::Ipv4Addr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use xdp_e2e::{
    Random,
    installed::Scrape,
    simulated::{
        API, ApiRequest, CrowdSize, OperatorProcess, Punctuality, PunctualityMonitor, RELEASE_NAMESPACE,
        SimulatedCluster, operator_binary,
    },
};
use xdp_kubernetes::PATIENCE;

use crate::{
    fixture::{alone, move_pod, pod, policy, policy_object, slices, until_set},
    sets::nonsense,
};

const SELECTION: &str = "pods {role in (flood)} of namespace victim";
/// From a pod's new address to the set with it.
const LATEST: Duration = Duration::from_secs(1);
/// Of ten changes, nine are not later than [`LATEST`]: a machine may stand still for seconds.
const SHARE: usize = 10;
/// No change takes longer, and a minute has at least this many.
const SLOWEST: Duration = Duration::from_secs(20);
const FEWEST: usize = 20;
/// Resident memory of the operator, in MB.
const OPERATOR: f64 = 150.0;
/// Growth of etcd, in MB.
const STORAGE: f64 = 200.0;
/// The leader stops if it has not renewed its lease for this long.
const RENEW: Duration = Duration::from_secs(10);
/// Policies of the attacker at a time, and its pods.
const POLICIES: u64 = 12;
const PODS: u64 = 20;

/// How often the API server accepted an attack, by its kind.
type Attacks = BTreeMap<&'static str, u64>;

/// Ends the attack when it is dropped.
struct EndOfAttack<'a>(&'a AtomicBool);

impl Drop for EndOfAttack<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What the victim, and the administrator, saw.
#[derive(Debug)]
struct Seen {
    changes: usize,
    late: usize,
    slowest: Duration,
    attacks: Attacks,
    operator: f64,
    storage: f64,
    punctuality: Punctuality,
}

#[test]
fn a_tenant_at_its_limits_delays_the_address_sets_of_no_other_and_fills_no_storage() {
    let _turn = alone();
    let minutes = env::var("MINUTES").ok().and_then(|minutes| minutes.parse().ok());
    let time = Duration::from_secs_f64(60.0 * minutes.unwrap_or(1.0));
    let binary = operator_binary().unwrap();
    let simulated = SimulatedCluster::start(&binary).unwrap();
    simulated
        .populate(CrowdSize {
            nodes: 100,
            policies: 10,
        })
        .unwrap();
    let operator = OperatorProcess::start(&simulated, &binary, &[]).unwrap();
    prepare(&simulated);
    let (monitor, before) = (PunctualityMonitor::start(&simulated), storage(&simulated));
    assert!(before > 0.0, "the API server says how large etcd is");
    let stop = AtomicBool::new(false);
    let (times, attacks, operator) = thread::scope(|scope| {
        let attacker = scope.spawn(|| Attacker::new(&simulated).attack(&stop));
        // Also if the observer panics: the scope waits for the attacker.
        let end = EndOfAttack(&stop);
        let seen = (observe(&simulated, time), operator.megabytes("VmHWM").unwrap());
        drop(end);
        (seen.0, attacker.join().unwrap(), seen.1)
    });
    let seen = Seen {
        changes: times.len(),
        late: times.iter().filter(|time| **time > LATEST).count(),
        slowest: times.iter().max().copied().unwrap_or_default(),
        attacks,
        operator,
        storage: storage(&simulated) - before,
        punctuality: monitor.stop().unwrap(),
    };
    println!(
        "{} changes during {} attacks: {} late, the slowest {:?}; {seen:?}",
        seen.changes,
        seen.attacks.values().sum::<u64>(),
        seen.late,
        seen.slowest
    );
    assert!(
        seen.changes >= FEWEST && seen.late * SHARE <= seen.changes,
        "{seen:?}"
    );
    assert!(seen.slowest <= SLOWEST, "{seen:?}");
    assert!(seen.attacks.values().all(|sent| *sent > 0), "{seen:?}");
    assert!(seen.operator <= OPERATOR && seen.storage <= STORAGE, "{seen:?}");
    assert!(seen.punctuality.lease < RENEW, "{seen:?}");
}

fn prepare(simulated: &SimulatedCluster) {
    for name in ["victim", "hostile"] {
        simulated.namespace(name, &json!({"team": name})).unwrap();
    }
    pod(simulated, "victim", "p", &json!({"role": "flood"}), "10.99.0.1");
    let flood = json!({"podSelector": {"matchLabels": {"role": "flood"}}});
    policy(simulated, "victim", "drop", &[vec![flood]]);
    until_set(simulated, SELECTION, &["10.99.0.1"]);
    for number in 0..PODS {
        let address = format!("10.98.0.{number}");
        pod(
            simulated,
            "hostile",
            &format!("h{number}"),
            &json!({"app": "hostile"}),
            &address,
        );
    }
}

/// Gives the victim's pod one address after the other. Returns how long each took to reach the set.
fn observe(simulated: &SimulatedCluster, time: Duration) -> Vec<Duration> {
    let name = &slices(simulated, SELECTION).unwrap()[0]["metadata"]["name"];
    let path = format!(
        "{API}/namespaces/{RELEASE_NAMESPACE}/xdppeersets/{}",
        name.as_str().unwrap()
    );
    let (end, mut times) = (Instant::now() + time, Vec::new());
    let mut address = u32::from(Ipv4Addr::new(10, 99, 0, 1));
    while Instant::now() < end {
        address += 1;
        let wanted = Ipv4Addr::from(address).to_string();
        move_pod(simulated, "victim", "p", &wanted);
        let changed = Instant::now();
        while simulated.get(&path).unwrap()["spec"]["addresses"] != json!([wanted]) {
            assert!(changed.elapsed() < PATIENCE, "the set never has {wanted}");
            thread::sleep(Duration::from_millis(10));
        }
        times.push(changed.elapsed());
        thread::sleep(Duration::from_millis(100));
    }
    times
}

/// The size of etcd, in MB.
fn storage(simulated: &SimulatedCluster) -> f64 {
    let metrics = Scrape::parse(simulated.text("/metrics").unwrap()).unwrap();
    metrics.sum("apiserver_storage_size_bytes", &[]) / 1e6
}

struct Attacker<'a> {
    simulated: &'a SimulatedCluster,
    random: Random,
}

impl<'a> Attacker<'a> {
    fn new(simulated: &'a SimulatedCluster) -> Self {
        Self {
            simulated,
            random: Random::new(1, "hostile"),
        }
    }

    /// Attacks until it is stopped.
    fn attack(&mut self, stop: &AtomicBool) -> Attacks {
        let kinds = ["largest", "selectors", "deletion", "address", "labels"];
        let mut attacks = Attacks::from(kinds.map(|kind| (kind, 0)));
        while !stop.load(Ordering::Relaxed) {
            let (kind, request) = match self.random.below(16) {
                0 => ("largest", self.write(&nonsense(100, 64))),
                1 => {
                    let sources = self.random_sources();
                    ("selectors", self.write(&sources))
                }
                2 => ("deletion", ApiRequest::delete(self.path())),
                3..=5 => ("address", self.new_address()),
                _ => ("labels", self.new_labels()),
            };
            // A policy may exist already, or not yet.
            let accepted = self.simulated.send(&request).is_ok();
            *attacks.entry(kind).or_default() += u64::from(accepted);
        }
        attacks
    }

    fn path(&mut self) -> String {
        let number = self.random.below(POLICIES);
        format!("{API}/namespaces/hostile/xdppolicies/p{number}")
    }

    /// Creates a policy, or replaces what it says.
    fn write(&mut self, sources: &[Vec<Value>]) -> ApiRequest {
        let path = self.path();
        let name = format!("p{}", path.rsplit('p').next().unwrap_or_default());
        let object = policy_object(&name, sources);
        if self.random.below(2) == 0 {
            ApiRequest::create(format!("{API}/namespaces/hostile/xdppolicies"), &object)
        } else {
            ApiRequest::patch(path, &json!({"spec": object["spec"]}))
        }
    }

    fn random_sources(&mut self) -> Vec<Vec<Value>> {
        let rules = 1 + self.random.below(8);
        let mut source = || {
            let operator = ["Exists", "DoesNotExist"][self.random.below(2) as usize];
            let mut pods = json!({"matchExpressions": [
                {"key": format!("y{}", self.random.below(64)), "operator": operator}]});
            if self.random.below(3) == 0 {
                pods["matchLabels"] = json!({"turn": self.random.below(4).to_string()});
            }
            json!({"namespaceSelector": {}, "podSelector": pods})
        };
        (0..rules).map(|_| (0..8).map(|_| source()).collect()).collect()
    }

    fn pod(&mut self) -> String {
        format!("/api/v1/namespaces/hostile/pods/h{}", self.random.below(PODS))
    }

    fn new_labels(&mut self) -> ApiRequest {
        let (key, turn) = (
            format!("y{}", self.random.below(64)),
            self.random.below(4).to_string(),
        );
        let value = if self.random.below(2) == 0 {
            Value::Null
        } else {
            json!("1")
        };
        ApiRequest::patch(
            self.pod(),
            &json!({"metadata": {"labels": {key: value, "turn": turn}}}),
        )
    }

    fn new_address(&mut self) -> ApiRequest {
        let address = format!("10.98.{}.{}", 1 + self.random.below(200), self.random.below(250));
        let status = json!({"status": {"podIP": address, "podIPs": [{"ip": address}]}});
        ApiRequest::patch(self.pod() + "/status", &status)
    }
}
