//! Features, private flags, rings and channels.

use std::ffi::CStr;

use super::{EthtoolError, request_words};

// include/uapi/linux/ethtool.h
const ETHTOOL_GRINGPARAM: u32 = 0x10;
const ETHTOOL_GSTRINGS: u32 = 0x1b;
const ETHTOOL_GPFLAGS: u32 = 0x27;
const ETHTOOL_GSSET_INFO: u32 = 0x37;
const ETHTOOL_GFEATURES: u32 = 0x3a;
const ETHTOOL_GCHANNELS: u32 = 0x3c;
const ETH_SS_PRIV_FLAGS: u32 = 2;
const ETH_SS_FEATURES: u32 = 4;
/// `ETH_GSTRING_LEN`.
const NAME: usize = 32;
/// Far more than any set has; the kernel has 64 features.
const MOST: u32 = 1024;

/// A ring size and its maximum, or a number of channels and its maximum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// The present value.
    pub current: u32,
    /// The maximum.
    pub maximum: u32,
}

/// `ethtool -g`: sizes of the rings, in packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rings {
    /// Receive ring of each queue.
    pub rx: Amount,
    /// Send ring of each queue.
    pub tx: Amount,
}

/// `ethtool -l`: numbers of queues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Channels {
    /// Queues that only receive.
    pub rx: Amount,
    /// Queues that only send.
    pub tx: Amount,
    /// Pairs of both.
    pub combined: Amount,
}

/// Names and values of flags.
pub type Flags = Vec<(String, bool)>;

/// Returns the offload features and whether they are active.
pub fn features(name: &str) -> Result<Flags, EthtoolError> {
    let names = strings(name, ETH_SS_FEATURES)?;
    let blocks = names.len().div_ceil(32);
    // `struct ethtool_gfeatures`: available, requested, active, never changed; 32 features each.
    let mut words = vec![0; 2 + 4 * blocks];
    (words[0], words[1]) = (ETHTOOL_GFEATURES, blocks as u32);
    request_words("ETHTOOL_GFEATURES", name, &mut words)?;
    let is_active = |position: usize| words[2 + 4 * (position / 32) + 2] >> (position % 32) & 1 == 1;
    Ok(named(names, is_active))
}

/// Returns the driver's private flags.
pub fn private_flags(name: &str) -> Result<Flags, EthtoolError> {
    let names = strings(name, ETH_SS_PRIV_FLAGS)?;
    let mut words = [ETHTOOL_GPFLAGS, 0];
    if !names.is_empty() {
        request_words("ETHTOOL_GPFLAGS", name, &mut words)?;
    }
    Ok(named(names, |position| {
        position < 32 && words[1] >> position & 1 == 1
    }))
}

/// Returns the value of a flag. `None`: there is no such flag.
pub fn flag(flags: &[(String, bool)], wanted: &str) -> Option<bool> {
    let mut flags = flags.iter().filter(|(name, _)| name == wanted);
    flags.next().map(|(_, value)| *value)
}

/// Returns the sizes of the rings.
pub fn rings(name: &str) -> Result<Rings, EthtoolError> {
    // `struct ethtool_ringparam`: maxima, then values, of rx, rx-mini, rx-jumbo, tx.
    let mut words = [0; 9];
    words[0] = ETHTOOL_GRINGPARAM;
    request_words("ETHTOOL_GRINGPARAM", name, &mut words)?;
    let [_, rx_max, _, _, tx_max, rx, _, _, tx] = words;
    Ok(Rings {
        rx: amount(rx, rx_max),
        tx: amount(tx, tx_max),
    })
}

/// Returns the numbers of queues.
pub fn channels(name: &str) -> Result<Channels, EthtoolError> {
    // `struct ethtool_channels`: maxima, then values, of rx, tx, other, combined.
    let mut words = [0; 9];
    words[0] = ETHTOOL_GCHANNELS;
    request_words("ETHTOOL_GCHANNELS", name, &mut words)?;
    let [_, rx_max, tx_max, _, combined_max, rx, tx, _, combined] = words;
    Ok(Channels {
        rx: amount(rx, rx_max),
        tx: amount(tx, tx_max),
        combined: amount(combined, combined_max),
    })
}

const fn amount(current: u32, maximum: u32) -> Amount {
    Amount { current, maximum }
}

fn named(names: Vec<String>, value: impl Fn(usize) -> bool) -> Flags {
    let flags = names.into_iter().enumerate();
    flags.map(|(position, name)| (name, value(position))).collect()
}

/// Returns the names of a set, in the order of their bits.
fn strings(name: &str, set: u32) -> Result<Vec<String>, EthtoolError> {
    // `struct ethtool_sset_info`: command, reserved, mask of sets, then one count for each set of the mask.
    let mut info = [ETHTOOL_GSSET_INFO, 0, 1 << set, 0, 0];
    request_words("ETHTOOL_GSSET_INFO", name, &mut info)?;
    let [.., mask, _, count] = info;
    if mask == 0 || count == 0 {
        return Ok(Vec::new());
    }
    let count = count.min(MOST) as usize;
    // `struct ethtool_gstrings`. The kernel writes all names; the count cannot change in between, because
    // both sets are fixed in kernel and driver.
    let mut words = vec![0; 3 + MOST as usize * NAME / 4];
    (words[0], words[1], words[2]) = (ETHTOOL_GSTRINGS, set, count as u32);
    request_words("ETHTOOL_GSTRINGS", name, &mut words)?;
    let bytes: Vec<u8> = words[3..].iter().flat_map(|word| word.to_ne_bytes()).collect();
    let text = |field: &[u8]| {
        let text = CStr::from_bytes_until_nul(field);
        text.map_or_else(|_| String::new(), |text| text.to_string_lossy().into_owned())
    };
    Ok(bytes.chunks(NAME).take(count).map(text).collect())
}
