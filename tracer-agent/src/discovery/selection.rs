//! Which processes a selection on the command line means, at the moment it is asked.

use std::{
    collections::{HashMap, HashSet},
    io::{BufRead, BufReader, Read},
};

use super::proc::Proc;

/// `TCP_LISTEN` as `/proc/net/tcp` prints it.
const LISTEN: &str = "0A";
/// Bytes of one table of sockets that are read; listening sockets come first in it.
const TABLE_MAX: u64 = 64 * 1024 * 1024;
/// Bytes of one line of it, far more than the kernel writes.
const LINE_MAX: u64 = 4096;

pub(super) fn listening_on(proc: &Proc, ports: &[u16]) -> Vec<u32> {
    if ports.is_empty() {
        return Vec::new();
    }
    let pids = proc.pids();
    let mut namespaces = HashSet::new();
    let mut sockets = HashSet::new();
    for pid in &pids {
        let Some(namespace) = proc.link(*pid, "ns/net") else {
            continue;
        };
        if namespaces.insert(namespace) {
            for table in ["net/tcp", "net/tcp6"] {
                listeners(proc, *pid, table, ports, &mut sockets);
            }
        }
    }
    if sockets.is_empty() {
        return Vec::new();
    }
    pids.into_iter()
        .filter(|pid| {
            proc.descriptors(*pid)
                .filter_map(|target| socket_inode(target.to_str()?))
                .any(|inode| sockets.contains(&inode))
        })
        .collect()
}

pub(super) fn descendants_of(proc: &Proc, ancestor: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for pid in proc.pids() {
        if let Some(parent) = proc.parent(pid) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = Vec::new();
    let mut parents = vec![ancestor];
    // Taking the children out ends the walk even where ids were reused while they were read.
    while let Some(parent) = parents.pop() {
        for child in children.remove(&parent).unwrap_or_default() {
            if child != ancestor {
                found.push(child);
                parents.push(child);
            }
        }
    }
    found
}

/// Adds the inode numbers of the sockets in this table that listen on one of the ports.
fn listeners(proc: &Proc, pid: u32, table: &str, ports: &[u16], sockets: &mut HashSet<u64>) {
    let Some(file) = proc.open(pid, table) else {
        return;
    };
    let mut lines = BufReader::new(file.take(TABLE_MAX));
    let mut line = Vec::new();
    loop {
        line.clear();
        match lines.by_ref().take(LINE_MAX).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                if let Some((port, inode)) = listener(&line)
                    && ports.contains(&port)
                {
                    sockets.insert(inode);
                }
            }
        }
    }
}

/// `sl: local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode …`
fn listener(line: &[u8]) -> Option<(u16, u64)> {
    let mut fields = str::from_utf8(line).ok()?.split_ascii_whitespace();
    let (_, port) = fields.nth(1)?.split_once(':')?;
    (fields.nth(1)? == LISTEN).then_some(())?;
    let inode = fields.nth(5)?.parse().ok()?;
    Some((u16::from_str_radix(port, 16).ok()?, inode))
}

/// `socket:[123]`
fn socket_inode(target: &str) -> Option<u64> {
    target.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{listener, socket_inode};

    const LINE: &str = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0000000000000000 100 0 0 10 0";

    #[test]
    fn a_listening_socket_is_known_by_port_and_inode() {
        assert_eq!(listener(LINE.as_bytes()), Some((8080, 4711)));
        let established = LINE.replace(" 0A ", " 01 ");
        assert_eq!(listener(established.as_bytes()), None);
        assert_eq!(listener(b"  sl  local_address rem_address   st tx_queue"), None);
    }

    #[test]
    fn only_a_socket_has_a_socket_inode() {
        assert_eq!(socket_inode("socket:[4711]"), Some(4711));
        assert_eq!(socket_inode("pipe:[4711]"), None);
        assert_eq!(socket_inode("/tmp/socket:[4711]"), None);
    }

    proptest! {
        #[test]
        fn no_line_makes_it_fail(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = listener(&line);
        }
    }
}
