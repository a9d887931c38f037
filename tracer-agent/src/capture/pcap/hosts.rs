//! Who speaks: each IP address is taken for one process, since a capture knows no more of it.
//!
//! So what an address is asked and what it asks others are seen as of one program, which only evidence from the wire
//! links: a trace header or a request id that comes in and goes out again. See [`super`] for what is not concluded.

use std::{collections::HashMap, net::IpAddr};

use crate::capture::ProcessInfo;

/// Addresses that are known at a time, as many as the stages behind know processes.
const MAX_HOSTS: usize = 16_384;

/// The addresses that were seen, and the numbers that stand for them. Peers choose addresses, so the hasher is a
/// keyed one.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    known: HashMap<IpAddr, u32>,
    last: u32,
}

impl Hosts {
    /// The process that an address stands for, and what is to be told of it if it is new. Numbers begin at 1 and are
    /// not used again; past the bound all are forgotten, and an address gets a new one.
    pub fn process(&mut self, address: IpAddr) -> (u32, Option<Box<ProcessInfo>>) {
        if let Some(pid) = self.known.get(&address) {
            return (*pid, None);
        }
        if self.known.len() >= MAX_HOSTS {
            self.known.clear();
        }
        self.last = self.last.wrapping_add(1);
        self.known.insert(address, self.last);
        let info = ProcessInfo {
            pid: self.last,
            service_name: format!("unknown_service:{address}"),
            ..ProcessInfo::default()
        };
        (self.last, Some(Box::new(info)))
    }
}
