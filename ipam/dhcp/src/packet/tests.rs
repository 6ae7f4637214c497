use proptest::prelude::*;

use super::*;

/// A server's ACK with these options, and these bytes in `sname` and `file`.
fn reply(options: &[u8], sname: &[u8], file: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; HEADER_BYTES];
    bytes[..4].copy_from_slice(&[2, 1, 6, 0]);
    bytes[4..8].copy_from_slice(&7_u32.to_be_bytes());
    bytes[16..20].copy_from_slice(&[10, 1, 0, 5]);
    bytes[28..34].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
    bytes[SNAME.start..SNAME.start + sname.len()].copy_from_slice(sname);
    bytes[FILE.start..FILE.start + file.len()].copy_from_slice(file);
    bytes[236..240].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
    bytes.extend([code::MESSAGE_TYPE, 1, 5]);
    bytes.extend(options);
    bytes
}

#[test]
fn a_clients_message_has_the_fields_of_the_rfc() {
    let message = Message {
        kind: MessageType::Discover,
        xid: 0x0102_0304,
        secs: 9,
        broadcast: true,
        ciaddr: Ipv4Addr::new(10, 1, 0, 5),
        yiaddr: Ipv4Addr::UNSPECIFIED,
        mac: MacAddr([2, 0, 0, 0, 0, 1]),
        options: [(code::CLIENT_ID, vec![0, b'a'])].into_iter().collect(),
    };
    let bytes = message.encode();
    assert_eq!(bytes.len(), LEAST_BYTES);
    assert_eq!(bytes[..16], [1, 1, 6, 0, 1, 2, 3, 4, 0, 9, 0x80, 0, 10, 1, 0, 5]);
    assert_eq!(bytes[16..28], [0; 12], "yiaddr, siaddr, giaddr");
    assert_eq!(bytes[28..34], [2, 0, 0, 0, 0, 1]);
    assert_eq!(bytes[34..236], [0; 202], "the rest of chaddr, sname, file");
    assert_eq!(bytes[236..248], [99, 130, 83, 99, 53, 1, 1, 61, 2, 0, b'a', 255]);
    assert_eq!(Message::decode(&bytes), Err(Malformed("it is no reply")));
}

#[test]
fn long_options_travel_in_parts() {
    let long: Vec<u8> = (0..=255).cycle().take(600).collect();
    let message = Message {
        kind: MessageType::Ack,
        xid: 7,
        secs: 0,
        broadcast: false,
        ciaddr: Ipv4Addr::UNSPECIFIED,
        yiaddr: Ipv4Addr::new(10, 1, 0, 5),
        mac: MacAddr([2, 0, 0, 0, 0, 1]),
        options: [(code::CLASSLESS_ROUTES, long.clone())].into_iter().collect(),
    };
    let mut bytes = message.encode();
    assert_eq!(bytes.len(), HEADER_BYTES + 3 + 600 + 3 * 2 + 1);
    bytes[0] = 2;
    assert_eq!(Message::decode(&bytes), Ok(message));
}

#[test]
fn options_in_file_and_sname_come_after_the_others() {
    let bytes = reply(&[code::OVERLOAD, 1, 3, 6, 2, 1, 2, 255], &[6, 1, 5, 255], &[0, 6, 2, 3, 4, 12, 1, b'h', 255]);
    let message = Message::decode(&bytes).unwrap();
    assert_eq!(message.options.value(code::DNS_SERVERS), Some(&[1, 2, 3, 4, 5][..]));
    assert_eq!(message.options.text(code::HOST_NAME).as_deref(), Some("h"));
    // Without the option these fields hold names.
    let message = Message::decode(&reply(&[255], &[6, 1, 5, 255], &[])).unwrap();
    assert_eq!(message.options, Options::default());
}

#[test]
fn what_is_no_answer_is_refused() {
    let good = reply(&[255], &[], &[]);
    assert!(Message::decode(&good).is_ok());
    for (at, value) in [(0, 1), (1, 2), (2, 16), (236, 0), (240, 12)] {
        let mut bad = good.clone();
        bad[at] = value;
        assert!(Message::decode(&bad).is_err(), "byte {at}");
    }
    for length in 0..good.len() - 1 {
        assert!(Message::decode(&good[..length]).is_err(), "cut to {length}");
    }
}

#[test]
fn classless_routes() {
    let option = [0, 10, 1, 0, 1, 24, 192, 168, 7, 10, 1, 0, 2, 9, 10, 129, 10, 1, 0, 3, 32, 10, 9, 9, 9, 0, 0, 0, 0];
    let routes = classless(&option).unwrap();
    let text: Vec<String> = routes.iter().map(|r| format!("{} {:?} {:?}", r.dst, r.gw, r.scope)).collect();
    assert_eq!(
        text,
        [
            "0.0.0.0/0 Some(10.1.0.1) None",
            "192.168.7.0/24 Some(10.1.0.2) None",
            "10.128.0.0/9 Some(10.1.0.3) None",
            "10.9.9.9/32 None Some(253)",
        ]
    );
    for length in 1..option.len() {
        let whole = [5, 13, 20].contains(&length);
        assert_eq!(classless(&option[..length]).is_some(), whole, "cut to {length}");
    }
    assert_eq!(classless(&[33, 10, 0, 0, 0, 1, 10, 1, 0, 1]), None);
}

#[test]
fn classful_routes() {
    let option = [10, 0, 0, 0, 1, 1, 1, 1, 172, 16, 0, 0, 1, 1, 1, 2, 192, 168, 3, 0, 1, 1, 1, 3];
    let host_and_wrong = [10, 2, 3, 4, 1, 1, 1, 4, 0, 0, 0, 0, 1, 1, 1, 5, 224, 0, 0, 1, 1, 1, 1, 6, 7];
    let routes = classful(&[&option[..], &host_and_wrong].concat());
    let text: Vec<String> = routes.iter().map(|r| format!("{} {}", r.dst, r.gw.unwrap())).collect();
    assert_eq!(text, ["10.0.0.0/8 1.1.1.1", "172.16.0.0/16 1.1.1.2", "192.168.3.0/24 1.1.1.3", "10.2.3.4/32 1.1.1.4"]);
}

#[test]
fn search_domains_are_read_as_in_the_rfc() {
    // The example of RFC 3397, section 2: eng.apple.com, marketing.apple.com.
    let example = b"\x03eng\x05apple\x03com\x00\x09marketing\xc0\x04";
    assert_eq!(search_list(example), ["eng.apple.com", "marketing.apple.com"]);
    for bad in [
        &b"\x03eng"[..],
        b"\xc0\x00",
        b"\x01a\xc0\x00",
        b"\x01a\x00\xc0\x05",
        b"\x01a\x00\xc0\x03",
        b"\x40a\x00",
        b"\x00",
        b"\x04a\nb.\x00",
        b"\x03a b\x00",
    ] {
        assert_eq!(search_list(bad), [] as [&str; 0], "{bad:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever the network sends: an answer or an error, never a panic.
    #[test]
    fn any_bytes_can_be_read(bytes in proptest::collection::vec(any::<u8>(), 0..700)) {
        let _ = Message::decode(&bytes);
        let _ = (classless(&bytes), classful(&bytes), search_list(&bytes));
    }

    #[test]
    fn any_options_can_be_read(options in proptest::collection::vec(any::<u8>(), 0..400),
                               file in proptest::collection::vec(any::<u8>(), 0..128)) {
        let bytes = reply(&[&[code::OVERLOAD, 1, 3][..], &options].concat(), &[], &file);
        if let Ok(message) = Message::decode(&bytes) {
            for (code, _) in message.options.iter() {
                let options = &message.options;
                let _ = (options.addresses(code), options.address(code), options.number(code), options.text(code));
            }
        }
    }
}
