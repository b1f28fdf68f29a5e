//! QEMU's monitor: JSON objects, one per line (docs/interop/qmp-spec.rst, QEMU 11).

use std::{
    collections::VecDeque,
    io::{self, BufRead, BufReader, Write},
    mem,
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use serde::Deserialize;
use serde_json::{Value, json};

/// How long QEMU may take to answer a command.
const ANSWER: Duration = Duration::from_secs(30);

/// QEMU's monitor does not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum QmpError {
    /// The connection broke or timed out.
    #[error("the connection to QEMU's monitor failed")]
    Connection(#[from] io::Error),
    /// A line is not what the protocol defines.
    #[error("QEMU's monitor sent `{line}`")]
    Message {
        /// The line.
        line: String,
    },
    /// QEMU refused a command.
    #[error("QEMU refused {command}: {reason}")]
    Refused {
        /// The command.
        command: String,
        /// QEMU's text.
        reason: String,
    },
    /// An event did not come.
    #[error("QEMU sent no {event} within {waited:?}")]
    NoEvent {
        /// The event.
        event: String,
        /// The time-out.
        waited: Duration,
    },
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Message {
    Event {
        event: String,
        #[serde(default)]
        data: Value,
    },
    Return {
        r#return: Value,
    },
    Error {
        error: Cause,
    },
    Greeting {
        #[serde(rename = "QMP")]
        _greeting: Value,
    },
}

#[derive(Debug, Deserialize)]
struct Cause {
    desc: String,
}

/// A connection to the monitor of one QEMU.
#[derive(Debug)]
pub struct Qmp {
    stream: BufReader<UnixStream>,
    /// The beginning of a line whose end has not arrived before a time-out.
    partial: Vec<u8>,
    events: VecDeque<(String, Value)>,
}

impl Qmp {
    /// Waits for the greeting and enables commands.
    pub(super) fn new(stream: UnixStream) -> Result<Self, QmpError> {
        stream.set_read_timeout(Some(ANSWER))?;
        let mut qmp = Self {
            stream: BufReader::new(stream),
            partial: Vec::new(),
            events: VecDeque::new(),
        };
        match qmp.read()? {
            Message::Greeting { .. } => qmp.execute("qmp_capabilities", &json!({})).map(|_| qmp),
            other => Err(QmpError::Message {
                line: format!("{other:?}"),
            }),
        }
    }

    /// Executes a command and returns its result. Events that arrive first are kept.
    pub fn execute(&mut self, command: &str, arguments: &Value) -> Result<Value, QmpError> {
        let request = json!({ "execute": command, "arguments": arguments });
        self.stream.get_mut().set_read_timeout(Some(ANSWER))?;
        self.stream
            .get_mut()
            .write_all(format!("{request}\n").as_bytes())?;
        loop {
            match self.read()? {
                Message::Return { r#return } => return Ok(r#return),
                Message::Event { event, data } => self.events.push_back((event, data)),
                Message::Error { error } => {
                    return Err(QmpError::Refused {
                        command: command.to_owned(),
                        reason: error.desc,
                    });
                }
                other @ Message::Greeting { .. } => {
                    return Err(QmpError::Message {
                        line: format!("{other:?}"),
                    });
                }
            }
        }
    }

    /// Waits for an event about a device.
    pub fn wait_for(&mut self, event: &str, device: &str, timeout: Duration) -> Result<(), QmpError> {
        let deadline = Instant::now() + timeout;
        let wanted = |(name, data): &(String, Value)| name == event && data["device"] == device;
        loop {
            if let Some(position) = self.events.iter().position(wanted) {
                self.events.remove(position);
                return Ok(());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let none = || QmpError::NoEvent {
                event: event.to_owned(),
                waited: timeout,
            };
            if left.is_zero() {
                return Err(none());
            }
            self.stream.get_mut().set_read_timeout(Some(left))?;
            match self.read() {
                Ok(Message::Event { event, data }) => self.events.push_back((event, data)),
                Ok(other) => {
                    return Err(QmpError::Message {
                        line: format!("{other:?}"),
                    });
                }
                Err(QmpError::Connection(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(none());
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn read(&mut self) -> Result<Message, QmpError> {
        if self.stream.read_until(b'\n', &mut self.partial)? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        let line = mem::take(&mut self.partial);
        serde_json::from_slice(&line).map_err(|_| QmpError::Message {
            line: String::from_utf8_lossy(&line).trim_end().to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    const GREETING: &str =
        r#"{"QMP": {"version": {"qemu": {"micro": 3, "minor": 1, "major": 11}}, "capabilities": ["oob"]}}"#;
    const DELETED: &str = r#"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "DEVICE_DELETED", "data": {"device": "nic0", "path": "/machine/peripheral/nic0"}}"#;
    const UNPLUG: &str = r#"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "DEVICE_DELETED", "data": {"path": "/machine/x"}}"#;

    /// Returns a client, and a thread that plays QEMU and returns the commands that it received.
    fn qemu(answers: &[&'static str]) -> (Qmp, thread::JoinHandle<Vec<Value>>) {
        let (ours, remote) = UnixStream::pair().unwrap();
        let answers = answers.to_vec();
        let server = thread::spawn(move || {
            let mut stream = BufReader::new(remote);
            writeln!(stream.get_mut(), "{GREETING}").unwrap();
            let mut commands = vec![];
            for answer in [r#"{"return": {}}"#].into_iter().chain(answers) {
                let mut line = String::new();
                stream.read_line(&mut line).unwrap();
                commands.push(serde_json::from_str(&line).unwrap());
                writeln!(stream.get_mut(), "{answer}").unwrap();
            }
            commands
        });
        (Qmp::new(ours).unwrap(), server)
    }

    #[test]
    fn a_command_has_its_arguments_and_returns_the_result() {
        let (mut qmp, server) = qemu(&[r#"{"return": {"status": "running"}}"#]);
        let result = qmp
            .execute("set_link", &json!({ "name": "nic0", "up": false }))
            .unwrap();
        assert_eq!(result["status"], "running");
        let commands = server.join().unwrap();
        assert_eq!(commands[0]["execute"], "qmp_capabilities");
        assert_eq!(
            commands[1],
            json!({ "execute": "set_link", "arguments": { "name": "nic0", "up": false } })
        );
    }

    #[test]
    fn a_refusal_has_the_reason_of_qemu() {
        let (mut qmp, _server) =
            qemu(&[r#"{"error": {"class": "DeviceNotFound", "desc": "Device 'nic9' not found"}}"#]);
        let error = qmp.execute("device_del", &json!({ "id": "nic9" })).unwrap_err();
        assert_eq!(
            error.to_string(),
            "QEMU refused device_del: Device 'nic9' not found"
        );
    }

    #[test]
    fn an_event_that_arrives_before_the_answer_is_kept() {
        let answer: &'static str = format!("{UNPLUG}\n{DELETED}\n{{\"return\": {{}}}}").leak();
        let (mut qmp, _server) = qemu(&[answer]);
        qmp.execute("device_del", &json!({ "id": "nic0" })).unwrap();
        qmp.wait_for("DEVICE_DELETED", "nic0", Duration::from_secs(5))
            .unwrap();
    }

    #[test]
    fn an_event_that_does_not_come_ends_the_wait() {
        let (mut qmp, server) = qemu(&["{\"return\": {}}"]);
        qmp.execute("device_del", &json!({ "id": "nic0" })).unwrap();
        let error = qmp
            .wait_for("DEVICE_DELETED", "nic0", Duration::from_millis(5))
            .unwrap_err();
        assert!(
            matches!(error, QmpError::NoEvent { .. } | QmpError::Connection(_)),
            "{error}"
        );
        server.join().unwrap();
    }

    #[test]
    fn a_line_that_is_no_message_is_quoted() {
        let (mut qmp, _server) = qemu(&["hello"]);
        let error = qmp.execute("quit", &json!({})).unwrap_err();
        assert_eq!(error.to_string(), "QEMU's monitor sent `hello`");
    }
}
