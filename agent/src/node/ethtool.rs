//! The ethtool requests that the agent needs, by interface name in the calling thread's network namespace.
#![expect(unsafe_code, reason = "SIOCETHTOOL takes pointers that no safe wrapper knows")]

use std::{
    ffi::{CStr, c_char},
    io,
    os::{fd::AsRawFd, unix::net::UnixDatagram},
};

use xdp_plan::nics::Driver;

mod sets;

pub use sets::{Amount, Channels, Flags, Rings, channels, features, flag, private_flags, rings};

// include/uapi/linux/ethtool.h
const ETHTOOL_GDRVINFO: u32 = 0x03;
const ETHTOOL_GFLAGS: u32 = 0x25;
const ETHTOOL_GGRO: u32 = 0x2b;
const ETHTOOL_SGRO: u32 = 0x2c;
const ETH_FLAG_RXVLAN: u32 = 1 << 8;
const ETH_FLAG_LRO: u32 = 1 << 15;

/// An ethtool request failed.
#[derive(Debug, thiserror::Error)]
pub enum EthtoolError {
    /// The name is not a valid interface name.
    #[error("`{name}` is not an interface name")]
    Name {
        /// The name.
        name: String,
    },
    /// The kernel refused the request.
    #[error("`{request}` on interface `{name}` failed")]
    Refused {
        /// The request.
        request: &'static str,
        /// The interface.
        name: String,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The kernel reported success but changed nothing.
    #[error("`{request}` on interface `{name}` had no effect; the driver fixes this setting")]
    Ignored {
        /// The request.
        request: &'static str,
        /// The interface.
        name: String,
    },
}

impl EthtoolError {
    /// Returns the kernel's errno, if the kernel refused the request.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Name { .. } | Self::Ignored { .. } => None,
            Self::Refused { source, .. } => source.raw_os_error(),
        }
    }
}

/// Returns driver and bus address of an interface.
pub fn driver(name: &str) -> Result<Driver, EthtoolError> {
    let mut info = DrvInfo {
        cmd: ETHTOOL_GDRVINFO,
        ..DrvInfo::default()
    };
    request("ETHTOOL_GDRVINFO", name, &mut info)?;
    Ok(Driver {
        name: text(&info.driver),
        bus: text(&info.bus_info),
        firmware: text(&info.fw_version),
    })
}

/// Whether generic receive offload is on.
pub fn gro(name: &str) -> Result<bool, EthtoolError> {
    let mut value = Value {
        cmd: ETHTOOL_GGRO,
        data: 0,
    };
    request("ETHTOOL_GGRO", name, &mut value)?;
    Ok(value.data != 0)
}

/// Switches generic receive offload on or off. Read it back afterwards: a driver can refuse without an error.
pub fn set_gro(name: &str, on: bool) -> Result<(), EthtoolError> {
    request(
        "ETHTOOL_SGRO",
        name,
        &mut Value {
            cmd: ETHTOOL_SGRO,
            data: u32::from(on),
        },
    )
}

/// Whether large receive offload is on.
pub fn lro(name: &str) -> Result<bool, EthtoolError> {
    Ok(flags(name)? & ETH_FLAG_LRO != 0)
}

/// Whether the NIC strips VLAN tags: XDP programs do not see them then.
pub fn strips_vlan(name: &str) -> Result<bool, EthtoolError> {
    Ok(flags(name)? & ETH_FLAG_RXVLAN != 0)
}

fn flags(name: &str) -> Result<u32, EthtoolError> {
    let mut value = Value {
        cmd: ETHTOOL_GFLAGS,
        data: 0,
    };
    request("ETHTOOL_GFLAGS", name, &mut value)?;
    Ok(value.data)
}

/// `struct ethtool_value`.
#[repr(C)]
struct Value {
    cmd: u32,
    data: u32,
}

/// `struct ethtool_drvinfo`.
#[repr(C)]
#[derive(Default)]
struct DrvInfo {
    cmd: u32,
    driver: [u8; 32],
    version: [u8; 32],
    fw_version: [u8; 32],
    bus_info: [u8; 32],
    erom_version: [u8; 32],
    reserved2: [u8; 12],
    n_priv_flags: u32,
    n_stats: u32,
    testinfo_len: u32,
    eedump_len: u32,
    regdump_len: u32,
}

const _: () = assert!(size_of::<DrvInfo>() == 196);

/// A structure that begins with its command and has the size that the kernel expects for that command.
trait Command {}
impl Command for Value {}
impl Command for DrvInfo {}

fn request<T: Command>(request: &'static str, name: &str, command: &mut T) -> Result<(), EthtoolError> {
    call(request, name, std::ptr::from_mut(command).cast())
}

/// Sends a request whose structure consists of words of 32 bits, the first of which is the command. Its end
/// leaves room for all that the command makes the kernel write.
fn request_words(request: &'static str, name: &str, words: &mut [u32]) -> Result<(), EthtoolError> {
    call(request, name, words.as_mut_ptr().cast())
}

fn call(request: &'static str, name: &str, command: *mut c_char) -> Result<(), EthtoolError> {
    let failed = |source| EthtoolError::Refused {
        request,
        name: name.to_owned(),
        source,
    };
    let socket = UnixDatagram::unbound().map_err(failed)?;
    let mut interface = libc::ifreq {
        ifr_name: interface_name(name)?,
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_data: command },
    };
    // SAFETY: `interface` is a whole `struct ifreq` whose data points to a structure that outlives the call
    // and has the size that its command makes the kernel read and write, as both callers ensure.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut interface) };
    if result == 0 {
        Ok(())
    } else {
        Err(failed(io::Error::last_os_error()))
    }
}

fn interface_name(name: &str) -> Result<[c_char; libc::IFNAMSIZ], EthtoolError> {
    let mut bytes = [0; libc::IFNAMSIZ];
    if name.is_empty() || name.len() >= bytes.len() || name.contains('\0') {
        return Err(EthtoolError::Name {
            name: name.to_owned(),
        });
    }
    for (to, from) in bytes.iter_mut().zip(name.bytes()) {
        *to = from as c_char;
    }
    Ok(bytes)
}

fn text(field: &[u8]) -> String {
    CStr::from_bytes_until_nul(field)
        .map_or_else(|_| String::new(), |text| text.to_string_lossy().into_owned())
}
