//! Messages against what tc of iproute2 6.1 and the reference v1.9.1 send for the same (captured with strace).

use super::*;

const HOST: Dev<'static> = Dev { index: 4, name: "h0" };

fn body(request: &Request) -> &[u8] {
    request.body()
}

/// The attribute at the end of a path of types.
fn at<'a>(request: &'a Request, path: &[u16]) -> &'a [u8] {
    path.iter().fold(body(request).get(Head::BYTES..).unwrap(), |list, kind| find(list, *kind).unwrap())
}

fn link(name: &str) -> crate::link::Link {
    crate::link::tests::link(4, name)
}

#[test]
fn a_token_bucket_is_a_qdisc_at_the_root() {
    // tc qdisc replace dev h0 root handle 1: tbf rate 8mbit burst 125000 limit 150000
    let request = set_tbf(&link("h0"), &Tbf { rate: 1_000_000, burst: 125_000, limit: 150_000 });
    assert_eq!(request.doing(), "limit h0 to 1000000 bytes/s");
    let head = [0, 4, 0x0001_0000, 0xffff_ffff, 0].map(u32::to_ne_bytes);
    assert_eq!(body(&request).get(..Head::BYTES).unwrap(), head.as_flattened());
    assert_eq!(at(&request, &[libc::TCA_KIND]), b"tbf\0");
    let expected: &[u8] = &[
        0, 1, 0, 0, 0, 0, 0, 0, 0x40, 0x42, 0x0f, 0, // rate: link layer Ethernet, 1,000,000 bytes/s
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // no peak rate
        0xf0, 0x49, 2, 0, // limit: 150,000 bytes
        0x65, 0xcd, 0x1d, 0, // buffer: 125 ms
        0, 0, 0, 0, // mtu: of the peak rate
    ];
    assert_eq!(at(&request, &[libc::TCA_OPTIONS, 1]), expected);
    let qdisc = parse(body(&request)).unwrap();
    let state = TbfState { rate: 1_000_000, buffer: 1_953_125, limit: 150_000 };
    assert_eq!((qdisc.link, qdisc.handle, qdisc.tbf), (4, 0x0001_0000, Some(state)));
}

#[test]
fn large_rates_and_bursts_have_attributes_of_their_own() {
    let plain = set_tbf(&link("h0"), &Tbf { rate: u64::from(u32::MAX), burst: 1 << 30, limit: 1 });
    let options = at(&plain, &[libc::TCA_OPTIONS]);
    assert_eq!((find(options, 4), find(options, 6)), (None, None));
    // tc … rate 40gbit: TCA_TBF_RATE64 beside the largest 32-bit number; the burst of 430 s as TCA_TBF_BURST.
    let fast = set_tbf(&link("h0"), &Tbf { rate: 5_000_000_000, burst: 1 << 20, limit: 1 });
    assert_eq!(at(&fast, &[libc::TCA_OPTIONS, 4]), 5_000_000_000u64.to_ne_bytes());
    assert_eq!(parse(body(&fast)).unwrap().tbf.unwrap().rate, 5_000_000_000);
    let long = set_tbf(&link("h0"), &Tbf { rate: 1_250_000, burst: 536_870_911, limit: 1 });
    assert_eq!(at(&long, &[libc::TCA_OPTIONS, 6]), 536_870_911u32.to_ne_bytes());
}

#[test]
fn a_redirection_is_a_filter_that_matches_everything() {
    // tc filter replace dev h0 parent ffff: protocol all pref 1 handle 800::800 u32 match u32 0 0 flowid 1:1
    //    action mirred egress redirect dev ifb0
    let request = redirect(HOST, Dev { index: 7, name: "ifb0" });
    assert_eq!(request.doing(), "redirect what comes in by h0 to ifb0");
    let head = [0, 4, 0x8000_0800, 0xffff_0000, 66304].map(u32::to_ne_bytes);
    assert_eq!(body(&request).get(..Head::BYTES).unwrap(), head.as_flattened());
    let mut selector = [0; 32];
    (selector[0], selector[2]) = (1, 1);
    assert_eq!(at(&request, &[libc::TCA_OPTIONS, 5]), selector);
    assert_eq!(at(&request, &[libc::TCA_OPTIONS, 1]), [1, 0, 1, 0]);
    assert_eq!(at(&request, &[libc::TCA_OPTIONS, 7, 1, 1]), b"mirred\0");
    let mirred = [0, 0, 4, 0, 0, 1, 7].map(u32::to_ne_bytes);
    assert_eq!(at(&request, &[libc::TCA_OPTIONS, 7, 1, 2, 2]), mirred.as_flattened());
    assert_eq!(redirect::targets(body(&request)), [7]);
}

#[test]
fn cut_off_answers_are_nothing() {
    let request = redirect(HOST, Dev { index: 7, name: "ifb0" });
    for cut in 0..body(&request).len() {
        assert_eq!(redirect::targets(&body(&request)[..cut]), [0u32; 0], "{cut} bytes");
    }
    for cut in 0..Head::BYTES {
        assert_eq!(parse(&body(&request)[..cut]), None, "{cut} bytes");
    }
}
