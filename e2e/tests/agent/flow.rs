//! Background traffic at the pace of its receivers.
//!
//! Never more is in flight than the rings on the path (256 in a veth) hold: a missing datagram was lost by
//! what the test does, not by a busy machine.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, Sender, TryRecvError, channel},
    },
    thread::{
        JoinHandle, {self},
    },
    time::{Duration, Instant},
};

use xdp_lab::{UdpReceiver, UdpSender};

/// Datagrams in flight.
const WINDOW: u64 = 64;
/// A datagram that has not arrived after this time is lost.
const LOST_AFTER: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_micros(50);

type Order = Box<dyn FnOnce(&mut Vec<Flow>) + Send>;

/// Datagrams from one sender to one pod.
pub(crate) struct Flow {
    sender: UdpSender,
    pub(crate) receiver: Arc<UdpReceiver>,
    /// Sent and not arrived in time.
    lost: u64,
    /// Continues without waiting for arrivals: the pod may be absent.
    blind: bool,
}

/// Sends all flows in turn, in the background.
pub(crate) struct Traffic {
    orders: Option<Sender<Order>>,
    thread: Option<JoinHandle<()>>,
}

impl Flow {
    pub(crate) fn new(sender: UdpSender, receiver: &Arc<UdpReceiver>) -> Self {
        Self {
            sender,
            receiver: Arc::clone(receiver),
            lost: 0,
            blind: false,
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.sender.stream()
    }

    fn in_flight(&self) -> u64 {
        let arrived = self.receiver.stream(self.id()).distinct;
        self.sender.sent().saturating_sub(arrived + self.lost)
    }
}

impl Traffic {
    pub(crate) fn new() -> Self {
        let (orders, inbox) = channel();
        Self {
            orders: Some(orders),
            thread: Some(thread::spawn(move || run(&inbox))),
        }
    }

    pub(crate) fn add(&self, flow: Flow) -> u32 {
        let id = flow.id();
        self.with(move |flows| flows.push(flow));
        id
    }

    /// Returns how many datagrams of a flow were sent. All of them have arrived or are lost.
    pub(crate) fn sent(&self, id: u32) -> u64 {
        self.with(move |flows| find(flows, id).sender.sent())
    }

    /// Waits until this many more datagrams were sent.
    pub(crate) fn more(&self, id: u32, packets: u64) {
        let goal = self.sent(id) + packets;
        while self.sent(id) < goal {
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// From now on the pod may be absent. Returns how many datagrams were sent before; all of them have
    /// arrived or are lost.
    pub(crate) fn blind(&self, id: u32) -> u64 {
        self.with(move |flows| {
            let flow = flows.iter_mut().find(|flow| flow.id() == id);
            let flow = flow.expect("a flow of this traffic");
            flow.blind = true;
            flow.sender.sent()
        })
    }

    /// Stops a flow. Returns how many datagrams were sent.
    pub(crate) fn end(&self, id: u32) -> u64 {
        self.with(move |flows| {
            let sent = find(flows, id).sender.sent();
            flows.retain(|flow| flow.id() != id);
            sent
        })
    }

    /// Runs `work` between two bursts, when nothing is in flight.
    fn with<T: Send + 'static>(&self, work: impl FnOnce(&mut Vec<Flow>) -> T + Send + 'static) -> T {
        let (sender, answer) = channel();
        let order = Box::new(move |flows: &mut Vec<Flow>| drop(sender.send(work(flows))));
        self.orders.as_ref().unwrap().send(order).unwrap();
        answer.recv().unwrap()
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // A panicked thread has printed its message.
            let _ = thread.join();
        }
    }
}

fn find(flows: &[Flow], id: u32) -> &Flow {
    flows
        .iter()
        .find(|flow| flow.id() == id)
        .expect("a flow of this traffic")
}

fn run(orders: &Receiver<Order>) {
    let mut flows = Vec::new();
    loop {
        match orders.try_recv() {
            Ok(order) => order(&mut flows),
            Err(TryRecvError::Disconnected) => return,
            Err(TryRecvError::Empty) => {
                burst(&mut flows);
                if flows.iter().all(|flow| flow.blind) {
                    thread::sleep(Duration::from_millis(1));
                }
            }
        }
    }
}

fn burst(flows: &mut [Flow]) {
    let each = (WINDOW / flows.len().max(1) as u64).max(1);
    for group in flows.chunks_mut(WINDOW as usize) {
        for flow in group.iter_mut() {
            for _ in 0..if flow.blind { 1 } else { each } {
                let sent = flow.sender.send_one();
                assert!(flow.blind || sent.is_ok(), "{sent:?}");
            }
        }
        for flow in group.iter_mut().filter(|flow| !flow.blind) {
            wait_for_arrival(flow);
        }
    }
}

fn wait_for_arrival(flow: &mut Flow) {
    let start = Instant::now();
    while flow.in_flight() > 0 {
        if start.elapsed() > LOST_AFTER {
            flow.lost += flow.in_flight();
        }
        thread::sleep(POLL);
    }
}
