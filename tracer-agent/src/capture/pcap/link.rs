//! What stands before the IP packet, for each kind of link.

use etherparse::{EtherType, LaxSlicedPacket};

use super::file::LinkType;

const NULL: LinkType = LinkType(0);
const ETHERNET: LinkType = LinkType(1);
/// BSD's raw IP, as old files have it.
const RAW_BSD: LinkType = LinkType(12);
const RAW_OPENBSD: LinkType = LinkType(14);
const RAW: LinkType = LinkType(101);
const LOOP: LinkType = LinkType(108);
const COOKED: LinkType = LinkType(113);
const IPV4: LinkType = LinkType(228);
const IPV6: LinkType = LinkType(229);
const COOKED_2: LinkType = LinkType(276);

/// Whether packets of this link are read.
pub(super) fn is_known(link: LinkType) -> bool {
    [
        NULL,
        ETHERNET,
        RAW_BSD,
        RAW_OPENBSD,
        RAW,
        LOOP,
        COOKED,
        IPV4,
        IPV6,
        COOKED_2,
    ]
    .contains(&link)
}

/// The headers of a packet, VLAN tags passed over (up to three); `None` where it is cut off in its link header or is
/// of no known link.
pub(super) fn headers(link: LinkType, bytes: &[u8]) -> Option<LaxSlicedPacket<'_>> {
    match link {
        ETHERNET => LaxSlicedPacket::from_ethernet(bytes).ok(),
        // Type, hardware type and address, then the type of what follows:
        // <https://www.tcpdump.org/linktypes/LINKTYPE_LINUX_SLL.html>
        COOKED => of_type(bytes.get(14..16)?, bytes.get(16..)?),
        // <https://www.tcpdump.org/linktypes/LINKTYPE_LINUX_SLL2.html>
        COOKED_2 => of_type(bytes.get(..2)?, bytes.get(20..)?),
        NULL | LOOP => of_family(bytes),
        _ if is_known(link) => LaxSlicedPacket::from_ip(bytes).ok(),
        _ => None,
    }
}

fn of_type<'a>(ether_type: &[u8], bytes: &'a [u8]) -> Option<LaxSlicedPacket<'a>> {
    let ether_type = u16::from_be_bytes(ether_type.try_into().ok()?);
    Some(LaxSlicedPacket::from_ether_type(EtherType(ether_type), bytes))
}

/// The address family, in the byte order of whatever machine it was; every system has its own number for IPv6.
/// <https://www.tcpdump.org/linktypes/LINKTYPE_NULL.html>
fn of_family(bytes: &[u8]) -> Option<LaxSlicedPacket<'_>> {
    let (family, bytes) = bytes.split_first_chunk()?;
    let is = |families: &[u32]| {
        families.contains(&u32::from_be_bytes(*family)) || families.contains(&u32::from_le_bytes(*family))
    };
    let ether_type = if is(&[2]) {
        EtherType::IPV4
    } else if is(&[10, 24, 28, 30]) {
        EtherType::IPV6
    } else {
        // Nothing that is read.
        EtherType(0)
    };
    Some(LaxSlicedPacket::from_ether_type(ether_type, bytes))
}
