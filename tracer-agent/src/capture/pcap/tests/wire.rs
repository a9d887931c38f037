//! Conversations on a wire: TCP segments, packets and files, made byte by byte.

/// When the first segment passes, in nanoseconds of Unix time.
pub const START: u64 = 1_700_000_000_000_000_000;
/// How long after each segment the next one passes.
pub const STEP: u64 = 1_000_000;

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

/// One segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    pub at: u64,
    pub is_of_client: bool,
    /// Last bytes of the addresses, the client's first.
    pub hosts: [u8; 2],
    pub ports: [u16; 2],
    pub seq: u32,
    pub ack: u32,
    pub flags: u8,
    pub payload: Vec<u8>,
}

impl Sent {
    pub fn later(mut self, by: u64) -> Self {
        self.at += by;
        self
    }

    /// An Ethernet frame with IPv4.
    pub fn packet(&self) -> Vec<u8> {
        ethernet(0x0800, &self.ipv4())
    }

    pub fn ipv4(&self) -> Vec<u8> {
        ipv4(self.octets(), 6, 0, &self.tcp())
    }

    pub fn octets(&self) -> [[u8; 4]; 2] {
        let [client, server] = self.hosts.map(|host| [10, 0, 0, host]);
        if self.is_of_client {
            [client, server]
        } else {
            [server, client]
        }
    }

    pub fn tcp(&self) -> Vec<u8> {
        let [client, server] = self.ports;
        let ports = if self.is_of_client {
            [client, server]
        } else {
            [server, client]
        };
        let mut bytes = Vec::new();
        bytes.extend(ports.map(u16::to_be_bytes).as_flattened());
        bytes.extend(self.seq.to_be_bytes());
        bytes.extend(self.ack.to_be_bytes());
        bytes.extend([0x50, self.flags, 0xff, 0xff, 0, 0, 0, 0]);
        bytes.extend(&self.payload);
        bytes
    }
}

pub fn ethernet(ether_type: u16, payload: &[u8]) -> Vec<u8> {
    [&[2; 12], ether_type.to_be_bytes().as_slice(), payload].concat()
}

pub fn ipv4([from, to]: [[u8; 4]; 2], protocol: u8, fragment: u16, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(20 + payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![0x45, 0, len[0], len[1], 0, 0];
    bytes.extend(fragment.to_be_bytes());
    bytes.extend([64, protocol, 0, 0]);
    bytes.extend(from);
    bytes.extend(to);
    bytes.extend(payload);
    bytes
}

pub fn ipv6(next_header: u8, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![0x60, 0, 0, 0, len[0], len[1], next_header, 64];
    for host in [1, 2] {
        bytes.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, host]);
    }
    bytes.extend(payload);
    bytes
}

/// A pcap file of Ethernet frames, little-endian, in nanoseconds.
pub fn pcap(packets: impl IntoIterator<Item = (u64, Vec<u8>)>) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xa1b2_3c4d_u32, 4 << 16 | 2, 0, 0, 65_535, 1] {
        file.extend(word.to_le_bytes());
    }
    for (at, packet) in packets {
        let seconds = u32::try_from(at / 1_000_000_000).unwrap();
        let nanos = u32::try_from(at % 1_000_000_000).unwrap();
        let len = u32::try_from(packet.len()).unwrap();
        for word in [seconds, nanos, len, len] {
            file.extend(word.to_le_bytes());
        }
        file.extend(packet);
    }
    file
}

/// A connection and what is said on it, segment by segment as it is sent.
#[derive(Clone, Debug)]
pub struct Conversation {
    pub segments: Vec<Sent>,
    hosts: [u8; 2],
    ports: [u16; 2],
    now: u64,
    client: u32,
    server: u32,
}

impl Conversation {
    /// After its handshake.
    pub fn begun() -> Self {
        Self::begun_at(1_000, 2_000)
    }

    /// The same, with these initial sequence numbers.
    pub fn begun_at(client: u32, server: u32) -> Self {
        let mut new = Self {
            segments: Vec::new(),
            hosts: [1, 2],
            ports: [40_000, 80],
            now: START,
            client,
            server,
        };
        new.send(true, SYN, &[]);
        new.client = client.wrapping_add(1);
        new.send(false, SYN | ACK, &[]);
        new.server = server.wrapping_add(1);
        new.send(true, ACK, &[]);
        new
    }

    pub fn refused() -> Self {
        let mut new = Self::begun();
        new.segments.truncate(1);
        new.server = 0;
        new.send(false, RST | ACK, &[]);
        new
    }

    /// Between other hosts.
    pub fn between(mut self, client: u8, server: u8) -> Self {
        self.hosts = [client, server];
        self.segments
            .iter_mut()
            .for_each(|sent| sent.hosts = [client, server]);
        self
    }

    pub fn between_ports(mut self, client: u16, server: u16) -> Self {
        self.ports = [client, server];
        self.segments
            .iter_mut()
            .for_each(|sent| sent.ports = [client, server]);
        self
    }

    pub fn request(mut self, bytes: &[u8]) -> Self {
        self.send(true, ACK, bytes);
        self
    }

    pub fn response(mut self, bytes: &[u8]) -> Self {
        self.send(false, ACK, bytes);
        self
    }

    pub fn server_finished(mut self) -> Self {
        self.send(false, FIN | ACK, &[]);
        self.server = self.server.wrapping_add(1);
        self
    }

    pub fn finished(self) -> Self {
        let mut finished = self.server_finished();
        finished.send(true, FIN | ACK, &[]);
        finished
    }

    pub fn reset_by_server(mut self) -> Self {
        self.send(false, RST | ACK, &[]);
        self
    }

    /// A keep-alive probe of the client: one byte that was acknowledged already.
    pub fn probe(&mut self) {
        self.client = self.client.wrapping_sub(1);
        self.send(true, ACK, &[0]);
    }

    fn send(&mut self, is_of_client: bool, flags: u8, payload: &[u8]) {
        let (seq, ack) = if is_of_client {
            (self.client, self.server)
        } else {
            (self.server, self.client)
        };
        self.segments.push(Sent {
            at: self.now,
            is_of_client,
            hosts: self.hosts,
            ports: self.ports,
            seq,
            ack: if flags & ACK == 0 { 0 } else { ack },
            flags,
            payload: payload.to_vec(),
        });
        let len = u32::try_from(payload.len()).unwrap();
        let next = if is_of_client {
            &mut self.client
        } else {
            &mut self.server
        };
        *next = next.wrapping_add(len);
        self.now += STEP;
    }
}
