//! Which package has the kernel that a series asks for.
//!
//! Archives drop old versions, so a kernel is resolved by the names that the archive has now, never by
//! version.

use std::{cmp::Ordering, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::Architecture;

/// Longterm series after 6.12, from <https://kernel.org/releases.html>. Add the next one here.
const LONGTERM: [(u32, u32); 1] = [(6, 18)];

/// A kernel by name and not by version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum KernelSeries {
    /// The newest kernel of one series, as in `6.12`.
    Exact(u32, u32),
    /// The newest kernel of the newest longterm series after 6.12.
    Longterm,
    /// The newest kernel in the archive.
    Newest,
}

impl KernelSeries {
    /// All series that the tests run on, the oldest first.
    pub const ALL: [Self; 4] = [
        Self::Exact(6, 1),
        Self::Exact(6, 12),
        Self::Longterm,
        Self::Newest,
    ];
}

/// A series that is not a version of two numbers, `lts` or `newest`; or no kernel of a series.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SeriesError {
    /// The text names no series.
    #[error("`{0}` is no kernel series: write `6.12`, `lts` or `newest`")]
    Unknown(String),
    /// The archive has no kernel of this series any more.
    #[error("Debian's archive has no kernel of the series {series} for {architecture}")]
    Absent {
        /// The series.
        series: KernelSeries,
        /// The architecture.
        architecture: Architecture,
    },
}

impl FromStr for KernelSeries {
    type Err = SeriesError;

    fn from_str(text: &str) -> Result<Self, SeriesError> {
        match text {
            "lts" => return Ok(Self::Longterm),
            "newest" => return Ok(Self::Newest),
            _ => {}
        }
        text.split_once('.')
            .and_then(|(major, minor)| Some(Self::Exact(major.parse().ok()?, minor.parse().ok()?)))
            .ok_or_else(|| SeriesError::Unknown(text.to_owned()))
    }
}

impl TryFrom<String> for KernelSeries {
    type Error = SeriesError;

    fn try_from(text: String) -> Result<Self, SeriesError> {
        text.parse()
    }
}

impl From<KernelSeries> for String {
    fn from(series: KernelSeries) -> Self {
        series.to_string()
    }
}

impl fmt::Display for KernelSeries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(major, minor) => write!(f, "{major}.{minor}"),
            Self::Longterm => f.write_str("lts"),
            Self::Newest => f.write_str("newest"),
        }
    }
}

/// The name of a package with a kernel image, taken apart.
#[derive(Debug, PartialEq, Eq)]
struct ImageName<'a> {
    package: &'a str,
    /// All numbers in the name, in their order: Debian's names compare by these.
    numbers: Vec<u32>,
    signed: bool,
}

impl<'a> ImageName<'a> {
    /// Parses `linux-image-6.12.118+deb13-amd64` and `linux-image-6.1.0-57-amd64-unsigned`.
    ///
    /// Refuses other flavours (`cloud-amd64`, `rt-amd64`), debug symbols and names that only depend on an
    /// image.
    fn parse(package: &'a str, flavour: &str) -> Option<Self> {
        let name = package.strip_prefix("linux-image-")?;
        let unsigned = name.strip_suffix("-unsigned");
        let release = unsigned
            .unwrap_or(name)
            .strip_suffix(flavour)?
            .strip_suffix('-')?;
        let (version, rest) = release.split_at(release.find(['+', '-']).unwrap_or(release.len()));
        let is_version =
            version.split('.').count() == 3 && version.split('.').all(|n| n.parse::<u32>().is_ok());
        let is_other_flavour = rest.split('-').skip(1).any(|part| part.parse::<u32>().is_err());
        (is_version && !is_other_flavour).then(|| Self {
            package,
            numbers: numbers(release),
            signed: unsigned.is_none(),
        })
    }

    fn series(&self) -> (u32, u32) {
        (self.numbers[0], self.numbers[1])
    }

    fn age(&self, other: &Self) -> Ordering {
        (&self.numbers, self.signed).cmp(&(&other.numbers, other.signed))
    }
}

fn numbers(text: &str) -> Vec<u32> {
    text.split(|c: char| !c.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect()
}

/// Returns the name of the package with the newest kernel of a series.
///
/// Of one kernel, the signed package is preferred to the unsigned one.
pub(super) fn choose<'a>(
    series: KernelSeries,
    architecture: Architecture,
    packages: impl IntoIterator<Item = &'a str>,
) -> Result<&'a str, SeriesError> {
    packages
        .into_iter()
        .filter_map(|package| ImageName::parse(package, architecture.flavour()))
        .filter(|image| match series {
            KernelSeries::Exact(major, minor) => image.series() == (major, minor),
            KernelSeries::Longterm => LONGTERM.contains(&image.series()),
            KernelSeries::Newest => true,
        })
        .max_by(ImageName::age)
        .map(|image| image.package)
        .ok_or(SeriesError::Absent { series, architecture })
}

/// Returns the packages that a kernel consists of, in addition to the image package.
///
/// From 7.0 on, the image package is empty and depends on `linux-binary-RELEASE`, `linux-modules-RELEASE` and
/// `linux-base-RELEASE`, which has the index of the built-in modules. Before, the last is not needed.
pub(super) fn parts(depends: &str) -> Vec<&str> {
    let names = depends
        .split([',', '|'])
        .filter_map(|dependency| dependency.split_whitespace().next());
    let is_part = |name: &&str| {
        ["linux-base-", "linux-binary-", "linux-modules-"]
            .iter()
            .any(|p| name.starts_with(p))
    };
    let parts: Vec<_> = names.filter(is_part).collect();
    let is_split = parts.iter().any(|name| name.starts_with("linux-binary-"));
    if is_split { parts } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARCHIVE: [&str; 17] = [
        "linux-image-6.1.0-9-amd64",
        "linux-image-6.1.0-57-amd64",
        "linux-image-6.1.0-57-amd64-dbg",
        "linux-image-6.1.0-57-amd64-unsigned",
        "linux-image-6.1.0-58-cloud-amd64",
        "linux-image-6.1.0-58-rt-amd64",
        "linux-image-6.12-amd64",
        "linux-image-6.12.9+deb13-amd64",
        "linux-image-6.12.115+deb13-amd64",
        "linux-image-6.12.115+deb13.1-amd64",
        "linux-image-6.12.115+deb12-amd64",
        "linux-image-6.12.116+deb13-amd64-unsigned",
        "linux-image-6.18.15+deb13-amd64",
        "linux-image-7.3.4+deb13-amd64",
        "linux-image-7.4.1+deb13-cloud-amd64",
        "linux-image-7.3.4+deb13-arm64-16k",
        "linux-image-amd64",
    ];

    fn amd64(series: &str) -> Result<&'static str, SeriesError> {
        choose(series.parse().unwrap(), Architecture::Amd64, ARCHIVE)
    }

    #[test]
    fn the_newest_of_a_series_is_chosen_by_number_and_not_by_text() {
        assert_eq!(amd64("6.1"), Ok("linux-image-6.1.0-57-amd64"));
        assert_eq!(amd64("newest"), Ok("linux-image-7.3.4+deb13-amd64"));
    }

    #[test]
    fn an_unsigned_kernel_is_chosen_only_where_it_is_newer() {
        assert_eq!(amd64("6.12"), Ok("linux-image-6.12.116+deb13-amd64-unsigned"));
        let without = ARCHIVE.into_iter().filter(|name| !name.ends_with("unsigned"));
        assert_eq!(
            choose(KernelSeries::Exact(6, 12), Architecture::Amd64, without),
            Ok("linux-image-6.12.115+deb13.1-amd64")
        );
    }

    #[test]
    fn lts_is_the_newest_longterm_series_and_not_the_newest_kernel() {
        assert_eq!(amd64("lts"), Ok("linux-image-6.18.15+deb13-amd64"));
    }

    #[test]
    fn a_series_that_left_the_archive_is_named_in_the_error() {
        let error = amd64("5.10").unwrap_err();
        assert_eq!(
            error.to_string(),
            "Debian's archive has no kernel of the series 5.10 for amd64"
        );
    }

    #[test]
    fn arm64_has_pages_of_16_kib() {
        assert_eq!(
            choose(KernelSeries::Newest, Architecture::Arm64, ARCHIVE),
            Ok("linux-image-7.3.4+deb13-arm64-16k")
        );
    }

    #[test]
    fn an_empty_image_package_names_the_packages_that_have_the_kernel() {
        let shell = "dracut | initramfs-tools (>= 0.120+deb8u2) | linux-initramfs-tool, \
            linux-base-7.3.4+deb13-amd64 (= 7.3.4-1~bpo13+1), linux-binary-7.3.4+deb13-amd64 (= 7.3.4-1~bpo13+1), \
            linux-modules-7.3.4+deb13-amd64 (= 7.3.4-1~bpo13+1)";
        assert_eq!(
            parts(shell),
            ["base", "binary", "modules"].map(|part| format!("linux-{part}-7.3.4+deb13-amd64"))
        );
        assert!(parts("kmod, linux-base (>= 4.3~), initramfs-tools").is_empty());
        assert!(parts("kmod, linux-base-6.18.15+deb13-amd64 (= 6.18.15-1~bpo13+1)").is_empty());
    }

    #[test]
    fn a_series_reads_as_it_is_written() {
        for series in KernelSeries::ALL {
            assert_eq!(series.to_string().parse(), Ok(series));
        }
        assert_eq!("6".parse::<KernelSeries>(), Err(SeriesError::Unknown("6".into())));
    }
}
