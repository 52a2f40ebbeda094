//! A command's share of the processors: a control group of its own, which the kernel lets run for so long in each period and no longer. The group
//! is made below one that is ours to divide: with the first version of control groups the supervisor's own, with the second one that a systemd
//! unit delegates (`Delegate=cpu` and `DelegateSubgroup=`), as no process may stand in a group that is divided.
//! Source: the kernel's `Documentation/admin-guide/cgroup-v1/cgroups.rst`, `scheduler/sched-bwc.rst` and `admin-guide/cgroup-v2.rst`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::process;

/// What the names of our groups begin with; the number and the start time of their supervisor follow.
const PREFIX: &str = "hookwright-";
/// In microseconds: so long is a period, and so long one in which a small share is still more than the kernel's least quota.
const PERIOD: u64 = 100_000;
const LONG_PERIOD: u64 = 1_000_000;
/// The least quota that the kernel takes, in microseconds.
const LEAST_QUOTA: u64 = 1_000;

/// A group with its quota; removed when dropped, once nothing runs in it.
pub(crate) struct Share {
    group: PathBuf,
    /// Where the supervisor itself stands.
    own: PathBuf,
}

impl Share {
    /// A group that may use so many thousandths of a processor.
    ///
    /// # Errors
    /// Why there is none on this machine, for people.
    pub(crate) fn new(cpu_millis: u32) -> Result<Self, String> {
        let (own, place) = Place::find()?;
        sweep(place.folder());
        let pid = i32::try_from(std::process::id()).unwrap_or(0);
        let group = place.folder().join(format!("{PREFIX}{pid}-{}", process::start_time(pid).unwrap_or(0)));
        let unusable = |error: io::Error| format!("the control group `{}` cannot be used: {error}", group.display());
        fs::create_dir(&group).map_err(unusable)?;
        let share = Self { group: group.clone(), own };
        let (quota, period) = quota(cpu_millis);
        let written = match &place {
            Place::First(_) => fs::write(group.join("cpu.cfs_period_us"), period.to_string())
                .and_then(|()| fs::write(group.join("cpu.cfs_quota_us"), quota.to_string())),
            Place::Second(_) => fs::write(group.join("cpu.max"), format!("{quota} {period}")),
        };
        written.map_err(unusable)?;
        Ok(share)
    }

    /// Starts something in the group: this process, which children are born beside, stands in it meanwhile.
    pub(crate) fn start<T>(&self, start: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        // `0` is whoever writes it.
        fs::write(self.group.join("cgroup.procs"), "0")?;
        let started = start();
        // A supervisor that shares the quota of what it watches might come too late to end it.
        fs::write(self.own.join("cgroup.procs"), "0")?;
        started
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        // One in which something was left is removed by the next supervisor.
        let _ = fs::remove_dir(&self.group);
    }
}

/// Removes the groups of supervisors that were killed. What still runs in one keeps it.
fn sweep(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split_once('-'));
        let Some((pid, start)) = owner.and_then(|(pid, start)| Some((pid.parse().ok()?, start.parse().ok()?))) else { continue };
        if process::start_time(pid) != Some(start) {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

/// The quota of a period and the period, in microseconds.
fn quota(cpu_millis: u32) -> (u64, u64) {
    let of = |period: u64| u64::from(cpu_millis) * period / 1000;
    let period = if of(PERIOD) < LEAST_QUOTA { LONG_PERIOD } else { PERIOD };
    (of(period).max(LEAST_QUOTA), period)
}

/// A folder in which groups can be made, by version.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    First(PathBuf),
    Second(PathBuf),
}

impl Place {
    /// Where this process stands, and where it may make groups.
    fn find() -> Result<(PathBuf, Self), String> {
        let read = |path: &str| fs::read_to_string(path).map_err(|error| format!("`{path}` cannot be read: {error}"));
        let (own, is_first) = own_group(&read("/proc/self/mountinfo")?, &read("/proc/self/cgroup")?)
            .ok_or("control groups for processors are not mounted at /sys/fs/cgroup")?;
        if is_first {
            return Ok((own.clone(), Self::First(own)));
        }
        let folder = delegated(&own)?;
        let control = folder.join("cgroup.subtree_control");
        if !fs::read_to_string(&control).unwrap_or_default().split_whitespace().any(|name| name == "cpu") {
            fs::write(&control, "+cpu").map_err(|error| format!("`{}` cannot be written: {error}", control.display()))?;
        }
        Ok((own, Self::Second(folder)))
    }

    fn folder(&self) -> &Path {
        match self {
            Self::First(folder) | Self::Second(folder) => folder,
        }
    }
}

/// The group of the second version that may be divided by whoever stands in `own`: its parent when that is a unit, of which only a delegated one has
/// processes further down; or the root, in which processes may stand beside groups.
fn delegated(own: &Path) -> Result<PathBuf, String> {
    let unit = own.parent().filter(|parent| parent.extension().is_some_and(|kind| kind == "service" || kind == "scope"));
    match unit {
        Some(unit) => Ok(unit.to_owned()),
        // Every group but the root has a type.
        None if !own.join("cgroup.type").exists() => Ok(own.to_owned()),
        None => Err(format!(
            "the control group `{}` is not delegated; start the daemon by a systemd unit with `Delegate=cpu` and `DelegateSubgroup=daemon` (systemd 254)",
            own.display()
        )),
    }
}

/// The folder of this process's group that has to do with processors, and whether it is one of the first version.
fn own_group(mounts: &str, groups: &str) -> Option<(PathBuf, bool)> {
    let path_in = |fits: &dyn Fn(&str, &str) -> bool| {
        groups.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':');
            let (id, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
            fits(id, controllers).then_some(path)
        })
    };
    let is_cpu = |list: &str| list.split(',').any(|name| name == "cpu");
    let mut second = None;
    for line in mounts.lines() {
        // Some optional fields stand between the two halves: proc_pid_mountinfo(5).
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let (left, right): (Vec<&str>, Vec<&str>) = (left.split(' ').collect(), right.split(' ').collect());
        let ([_, _, _, root, target, ..], [kind, _, options, ..]) = (&left[..], &right[..]) else { continue };
        let group = match *kind {
            "cgroup" if is_cpu(options) => path_in(&|_, controllers| is_cpu(controllers)),
            "cgroup2" => path_in(&|id, _| id == "0"),
            _ => continue,
        };
        // What is mounted may be a part of the hierarchy, as in a container.
        let Some(inner) = group.and_then(|group| Path::new(group).strip_prefix(root).ok()) else { continue };
        let folder = if inner.as_os_str().is_empty() { PathBuf::from(target) } else { Path::new(target).join(inner) };
        if *kind == "cgroup" {
            return Some((folder, true));
        }
        second = Some((folder, false));
    }
    second
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_quota_that_the_kernel_takes() {
        assert_eq!(quota(500), (50_000, 100_000));
        assert_eq!(quota(2_000), (200_000, 100_000));
        assert_eq!(quota(5), (5_000, 1_000_000), "less than a hundredth takes a longer period");
        assert_eq!(quota(0), (1_000, 1_000_000));
    }

    #[test]
    fn the_group_is_found_in_either_version_and_in_a_container() {
        let first = "33 32 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
                     34 32 0:30 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset\n\
                     35 32 0:31 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
        let groups = "5:cpuset:/\n4:cpu,cpuacct:/a/b\n0::/c\n";
        assert_eq!(own_group(first, groups), Some((PathBuf::from("/sys/fs/cgroup/cpu,cpuacct/a/b"), true)));
        let second = "24 30 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        assert_eq!(own_group(second, "0::/system.slice/x.service/daemon\n").map(|(folder, _)| folder), {
            Some(PathBuf::from("/sys/fs/cgroup/system.slice/x.service/daemon"))
        });
        let container = "33 32 0:29 /docker/1f /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu\n";
        assert_eq!(own_group(container, "4:cpu:/docker/1f\n"), Some((PathBuf::from("/sys/fs/cgroup/cpu"), true)));
        assert_eq!(own_group("", groups), None);
    }

    #[test]
    fn a_unit_that_is_delegated_is_divided_and_nothing_else_is() {
        let unit = tempfile::tempdir().expect("a folder");
        let own = unit.path().join("hookwright.service/daemon");
        fs::create_dir_all(&own).expect("a group");
        fs::write(own.join("cgroup.type"), "domain\n").expect("its type");
        assert_eq!(delegated(&own), Ok(unit.path().join("hookwright.service")));
        let session = unit.path().join("user.slice");
        fs::create_dir_all(&session).expect("a group");
        fs::write(session.join("cgroup.type"), "domain\n").expect("its type");
        assert!(delegated(&session).expect_err("it is somebody else's").contains("Delegate=cpu"));
    }
}
