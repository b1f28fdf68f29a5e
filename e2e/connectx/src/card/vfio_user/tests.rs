//! The test is the client.

use std::{
    fs::File,
    io::{IoSlice, Read as _, Write as _},
    os::{
        fd::{AsRawFd as _, RawFd},
        unix::net::UnixStream,
    },
    thread::JoinHandle,
};

use nix::sys::{
    eventfd::{EfdFlags, EventFd},
    memfd::{MFdFlags, memfd_create},
    socket::{ControlMessage, MsgFlags, sendmsg},
};

use crate::card::{device::Device, findings::Finding, profile::Profile, vfio_user::Server};

const VERSION: u16 = 1;
const MAP: u16 = 2;
const UNMAP: u16 = 3;
const INFO: u16 = 4;
const REGION: u16 = 5;
const INTERRUPTS: u16 = 7;
const SET_INTERRUPTS: u16 = 8;
const READ: u16 = 9;
const WRITE: u16 = 10;

struct Client {
    socket: UnixStream,
    server: JoinHandle<(Device, std::io::Result<bool>)>,
}

/// The errno of an answer, and its body.
type Answer = (u32, Vec<u8>);

impl Client {
    fn new() -> Self {
        let (socket, other) = UnixStream::pair().unwrap();
        let server = std::thread::spawn(move || {
            let (mut server, mut device) = (Server::new(other), Device::new(Profile::default()));
            loop {
                match server.step(&mut device) {
                    Ok(true) => {}
                    end => return (device, end),
                }
            }
        });
        Self { socket, server }
    }

    fn post(&self, command: u16, flags: u32, body: &[u8], descriptors: &[RawFd]) {
        let mut message = [7, 0].to_vec();
        message.extend(command.to_le_bytes());
        message.extend((16 + body.len() as u32).to_le_bytes());
        message.extend(flags.to_le_bytes());
        message.extend([0; 4]);
        message.extend(body);
        let rights = [ControlMessage::ScmRights(descriptors)];
        let control: &[_] = if descriptors.is_empty() { &[] } else { &rights };
        let buffer = [IoSlice::new(&message)];
        sendmsg::<()>(self.socket.as_raw_fd(), &buffer, control, MsgFlags::empty(), None).unwrap();
    }

    fn ask(&mut self, command: u16, body: &[u8], descriptors: &[RawFd]) -> Answer {
        self.post(command, 0, body, descriptors);
        let mut header = [0; 16];
        self.socket.read_exact(&mut header).unwrap();
        let word = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().unwrap());
        assert_eq!(header[..4], [7, 0, command as u8, 0]);
        let mut body = vec![0; word(4) as usize - 16];
        self.socket.read_exact(&mut body).unwrap();
        assert_eq!(word(8), if word(12) == 0 { 1 } else { 0x21 });
        (word(12), body)
    }

    /// Closes the connection and returns the card.
    fn close(self) -> Device {
        drop(self.socket);
        let (device, end) = self.server.join().unwrap();
        assert!(!end.unwrap());
        device
    }
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

#[test]
fn the_card_describes_itself() {
    let mut client = Client::new();
    let (error, version) = client.ask(VERSION, b"\0\0\x01\0{}\0", &[]);
    assert_eq!(
        (error, &version[..4], version.last()),
        (0, &[0, 0, 1, 0][..], Some(&0))
    );
    assert_eq!(
        client.ask(INFO, &words(&[16, 0, 0, 0]), &[]),
        (0, words(&[16, 3, 9, 5]))
    );
    for (region, size) in [(0, 16 << 20), (1, 0), (7, 4096)] {
        let flags = if size > 0 { 3 } else { 0 };
        let expected = words(&[32, flags, region, 0, size, 0, 0, 0]);
        assert_eq!(
            client.ask(REGION, &words(&[32, 0, region, 0, 0, 0, 0, 0]), &[]),
            (0, expected)
        );
    }
    assert_eq!(
        client.ask(INTERRUPTS, &words(&[16, 0, 2, 0]), &[]),
        (0, words(&[16, 1, 2, 32]))
    );
    client.close();
}

#[test]
fn registers_and_configuration_are_regions() {
    let mut client = Client::new();
    let (_, ids) = client.ask(READ, &words(&[0, 0, 7, 4]), &[]);
    assert_eq!(ids[16..], [0xb3, 0x15, 0x1d, 0x10]);
    let (_, firmware) = client.ask(READ, &words(&[0, 0, 0, 4]), &[]);
    assert_eq!(firmware[16..], [0, 35, 0, 22]);
    // A write without an answer, as QEMU posts it: bus mastering.
    client.post(WRITE, 0x10, &[words(&[4, 0, 7, 2]), vec![4, 0]].concat(), &[]);
    let (_, command) = client.ask(READ, &words(&[4, 0, 7, 2]), &[]);
    assert_eq!(command[16..], [4, 0]);
    assert!(client.close().configuration.is_bus_master());
}

#[test]
fn memory_comes_with_a_descriptor() {
    let mut client = Client::new();
    let mut file = File::from(memfd_create(c"guest", MFdFlags::MFD_CLOEXEC).unwrap());
    file.write_all(&[0x11; 4096]).unwrap();
    let map = words(&[32, 3, 0, 0, 0x1000, 0, 4096, 0]);
    assert_eq!(client.ask(MAP, &map, &[file.as_raw_fd()]), (0, vec![]));
    assert_eq!(
        client.ask(MAP, &map, &[file.as_raw_fd()]).0,
        nix::errno::Errno::EINVAL as u32
    );
    let mut device = client.close();
    assert_eq!(device.memory.be32(0x1000), 0x1111_1111);
}

#[test]
fn withdrawn_memory_is_gone() {
    let mut client = Client::new();
    let file = File::from(memfd_create(c"guest", MFdFlags::MFD_CLOEXEC).unwrap());
    file.set_len(4096).unwrap();
    client.ask(
        MAP,
        &words(&[32, 3, 0, 0, 0x1000, 0, 4096, 0]),
        &[file.as_raw_fd()],
    );
    let unmap = words(&[24, 0, 0x1000, 0, 4096, 0]);
    assert_eq!(client.ask(UNMAP, &unmap, &[]), (0, unmap));
    assert!(!client.close().memory.read(0x1000, &mut [0]));
}

#[test]
fn vectors_come_as_eventfds() {
    let mut client = Client::new();
    let event = EventFd::from_flags(EfdFlags::EFD_NONBLOCK).unwrap();
    assert_eq!(
        client
            .ask(SET_INTERRUPTS, &words(&[20, 0x24, 2, 5, 1]), &[event.as_raw_fd()])
            .0,
        0
    );
    let einval = nix::errno::Errno::EINVAL as u32;
    assert_eq!(
        client.ask(SET_INTERRUPTS, &words(&[20, 0x24, 2, 31, 2]), &[]).0,
        einval
    );
    let mut device = client.close();
    device.interrupts.fire(5);
    assert_eq!(event.read(), Ok(1));
}

#[test]
fn malformed_messages_are_answered_with_an_error() {
    let mut client = Client::new();
    for command in [
        VERSION,
        MAP,
        UNMAP,
        REGION,
        INTERRUPTS,
        SET_INTERRUPTS,
        READ,
        WRITE,
    ] {
        assert_eq!(
            client.ask(command, &[0; 3], &[]).0,
            nix::errno::Errno::EINVAL as u32,
            "{command}"
        );
    }
    let long = words(&[0, 0, 0, u32::MAX]);
    assert_eq!(client.ask(READ, &long, &[]).0, nix::errno::Errno::EINVAL as u32);
    client.close();
}

#[test]
fn an_unknown_command_is_a_finding() {
    let mut client = Client::new();
    assert_eq!(client.ask(99, &[], &[]).0, nix::errno::Errno::ENOSYS as u32);
    assert_eq!(client.close().findings(), [Finding::Transport { command: 99 }]);
}

#[test]
fn a_message_that_is_too_long_ends_the_connection() {
    let mut client = Client::new();
    let mut header = words(&[1 << 16, u32::MAX, 0, 0]);
    client.socket.write_all(&header).unwrap();
    header.clear();
    assert_eq!(client.socket.read(&mut [0]).unwrap(), 0);
    assert!(client.server.join().unwrap().1.is_err());
}
