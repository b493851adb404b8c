//! The loopback interface of the guest, which nobody else sets up.

use std::io;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with,
};

// Of `include/uapi/linux/rtnetlink.h`, `netlink.h` and `if.h` of the kernel.
const RTM_NEWLINK: u16 = 16;
const NLM_F_REQUEST_ACK: u16 = 1 | 4;
const NLMSG_ERROR: u16 = 2;
const IFF_UP: u32 = 1;

/// It is the first interface of every network namespace (`LOOPBACK_IFINDEX`).
const INDEX: u32 = 1;

/// Lengths of `nlmsghdr` and of `ifinfomsg`.
const HEADER: u32 = 16;
const LINK: u32 = 16;

/// Takes it up. The kernel gives it its addresses then: 127.0.0.1/8, and `::1` where it has IPv6.
pub(super) fn take_up() -> io::Result<()> {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
    sendto(
        &socket,
        &request(),
        SendFlags::empty(),
        &SocketAddrNetlink::new(0, 0),
    )?;
    // The kernel answers in the call above.
    let mut answer = [0; 256];
    let (count, _) = recv(&socket, &mut answer[..], RecvFlags::DONTWAIT)?;
    refused(&answer[..count])
}

/// The message that asks for it.
fn request() -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend((HEADER + LINK).to_ne_bytes());
    bytes.extend(RTM_NEWLINK.to_ne_bytes());
    bytes.extend(NLM_F_REQUEST_ACK.to_ne_bytes());
    // Sequence number and sender, then family and type.
    bytes.extend([0; 8]);
    bytes.extend([0; 4]);
    bytes.extend(INDEX.to_ne_bytes());
    // Flags, and which of them are to change.
    bytes.extend(IFF_UP.to_ne_bytes());
    bytes.extend(IFF_UP.to_ne_bytes());
    bytes
}

/// The error of the kernel's answer, whose number 0 says that it was done.
fn refused(answer: &[u8]) -> io::Result<()> {
    let kind = answer
        .get(4..6)
        .map(|it| u16::from_ne_bytes([it[0], it[1]]));
    let number = answer
        .get(16..20)
        .map(|it| i32::from_ne_bytes([it[0], it[1], it[2], it[3]]));
    match (kind, number) {
        (Some(NLMSG_ERROR), Some(0)) => Ok(()),
        (Some(NLMSG_ERROR), Some(number)) => Err(io::Error::from_raw_os_error(-number)),
        _ => Err(io::Error::other("not an answer of the kernel")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_the_kernel_are_read() {
        let answer = |kind: u16, number: i32| {
            let mut bytes = vec![0; 36];
            bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
            bytes[16..20].copy_from_slice(&number.to_ne_bytes());
            bytes
        };
        assert!(refused(&answer(NLMSG_ERROR, 0)).is_ok());
        let error = refused(&answer(NLMSG_ERROR, -1)).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(1));
        assert!(refused(&answer(NLMSG_ERROR, 0)[..18]).is_err());
        assert!(refused(&answer(3, 0)).is_err());
        assert!(refused(&[]).is_err());
    }

    #[test]
    fn the_request_has_the_length_that_it_says() {
        let bytes = request();
        assert_eq!(bytes.len() as u32, HEADER + LINK);
        assert_eq!(bytes[..4], (HEADER + LINK).to_ne_bytes());
    }
}
