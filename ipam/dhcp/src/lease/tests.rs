use proptest::prelude::*;

use super::*;

const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const SERVER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 5);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn client() -> Client {
    let options = [(code::CLIENT_ID, vec![0, b'a']), (code::REQUEST_LIST, vec![1, 3])].into_iter().collect();
    let timing = Timing { reply: seconds(10), resend_max: seconds(62), resend_timeout: seconds(208) };
    Client { mac: MAC, options, broadcast: false, timing }
}

/// A client and a clock that moves when the test says so.
struct Bench {
    client: Client,
    state: State,
    now: Time,
    sent: Vec<(Message, Way)>,
    granted: usize,
}

impl Bench {
    fn new(begin: impl FnOnce(&Client, Moment) -> Step, now: u64) -> Self {
        let client = client();
        let mut bench =
            Self { state: State::Ended(Ending::Released), now: seconds(now), sent: Vec::new(), granted: 0, client };
        let step = begin(&bench.client, bench.moment());
        bench.take(step);
        bench
    }

    fn start() -> Self {
        Self::new(Client::start, 1000)
    }

    /// With a lease of `lease` seconds.
    fn bound(lease: u32) -> Self {
        let mut bench = Self::start();
        bench.answer(MessageType::Offer, lease);
        bench.answer(MessageType::Ack, lease);
        assert!(matches!(bench.state, State::Bound { .. }));
        bench.sent.clear();
        bench
    }

    /// Half of the dice: no spread.
    fn moment(&self) -> Moment {
        Moment { now: self.now, dice: u32::MAX / 2 }
    }

    fn take(&mut self, (state, actions): Step) {
        self.state = state;
        for action in actions {
            match action {
                Action::Send(message, way) => self.sent.push((message, way)),
                Action::Granted => self.granted += 1,
                Action::Ended => assert!(matches!(self.state, State::Ended(_))),
            }
        }
    }

    fn happen(&mut self, event: Event) {
        let step = self.client.step(self.state.clone(), event, self.moment());
        self.take(step);
    }

    /// Lets time go on to the next deadline; its distance from now in seconds.
    fn wait(&mut self) -> u64 {
        let deadline = self.state.deadline().expect("a deadline");
        let waited = deadline.saturating_sub(self.now);
        self.now = self.now.max(deadline);
        self.happen(Event::Timer);
        waited.as_millis().div_ceil(1000).try_into().unwrap()
    }

    fn message(&self, kind: MessageType, address: Ipv4Addr, lease: u32) -> Message {
        let options: Options = [
            (code::SERVER, SERVER.octets().to_vec()),
            (code::LEASE_TIME, lease.to_be_bytes().to_vec()),
            (code::SUBNET_MASK, vec![255, 255, 0, 0]),
        ]
        .into_iter()
        .collect();
        let xid = self.state.exchange().map_or(0, |exchange| exchange.xid);
        Message {
            kind,
            xid,
            secs: 0,
            broadcast: false,
            ciaddr: Ipv4Addr::UNSPECIFIED,
            yiaddr: address,
            mac: MAC,
            options,
        }
    }

    fn answer(&mut self, kind: MessageType, lease: u32) {
        let message = self.message(kind, ADDRESS, lease);
        self.happen(Event::Received(message, Some(SERVER_MAC)));
    }

    /// What was sent since the last time, in short.
    fn said(&mut self) -> Vec<String> {
        let short = |(message, way): (Message, Way)| {
            let options = &message.options;
            let option = |code| options.address(code).map_or("-".to_owned(), |address| address.to_string());
            let (requested, server) = (option(code::REQUESTED_ADDRESS), option(code::SERVER));
            format!("{:?} ciaddr {} requested {requested} server {server} {way:?}", message.kind, message.ciaddr)
        };
        std::mem::take(&mut self.sent).into_iter().map(short).collect()
    }
}

#[test]
fn an_address_is_had_in_two_exchanges() {
    let mut bench = Bench::start();
    assert_eq!(bench.said(), ["Discover ciaddr 0.0.0.0 requested - server - Discovery"]);
    bench.answer(MessageType::Offer, 120);
    assert_eq!(bench.said(), ["Request ciaddr 0.0.0.0 requested 10.1.0.5 server 10.1.0.1 Discovery"]);
    bench.now += seconds(3);
    bench.answer(MessageType::Ack, 120);
    assert_eq!((bench.said().len(), bench.granted), (0, 1));
    let State::Bound { grant } = &bench.state else { panic!("{:?}", bench.state) };
    assert_eq!(grant.net().unwrap().to_string(), "10.1.0.5/16");
    assert_eq!(grant.server_mac, Some(SERVER_MAC));
    // The lease counts from the REQUEST, not from its answer.
    assert_eq!([grant.t1, grant.t2, grant.end].map(Option::unwrap), [1060, 1105, 1120].map(seconds));
}

#[test]
fn messages_carry_what_the_client_says_and_their_age() {
    let mut bench = Bench::start();
    bench.wait();
    let (message, _) = bench.sent.pop().unwrap();
    assert_eq!(message.options, client().options);
    assert_eq!((message.secs, message.mac, message.broadcast), (2, MAC, false));
    bench.client.broadcast = true;
    bench.wait();
    assert!(bench.sent.pop().unwrap().0.broadcast);
}

#[test]
fn silence_is_asked_again_and_again_and_then_given_up() {
    let mut bench = Bench::start();
    let mut waited = Vec::new();
    while bench.state.deadline().is_some() {
        waited.push(bench.wait());
    }
    assert_eq!(waited, [2, 2, 2, 2, 4, 8, 16, 32, 62, 62, 16]);
    assert_eq!(bench.state, State::Ended(Ending::NoAnswer(seconds(208))));
    assert_eq!(bench.sent.len(), 11, "one DISCOVER, and one after each pause but the last");
    let xids: Vec<u32> = bench.sent.iter().map(|(message, _)| message.xid).collect();
    assert!(xids.iter().all(|xid| *xid == xids[0]));
}

#[test]
fn a_server_that_offers_and_falls_silent_is_left() {
    let mut bench = Bench::start();
    bench.answer(MessageType::Offer, 120);
    bench.said();
    while matches!(bench.state, State::Requesting { .. }) {
        bench.wait();
    }
    let said = bench.said();
    assert_eq!(said.iter().filter(|text| text.starts_with("Request")).count(), 4, "{said:#?}");
    assert_eq!(said.last().unwrap(), "Discover ciaddr 0.0.0.0 requested - server - Discovery");
    assert_eq!(bench.now, seconds(1010));
    while bench.state.deadline().is_some() {
        bench.wait();
    }
    assert_eq!(bench.now, seconds(1208), "all in all as long as without an offer");
}

#[test]
fn a_refused_request_is_followed_by_a_pause_and_a_new_discover() {
    let mut bench = Bench::start();
    bench.answer(MessageType::Offer, 120);
    bench.said();
    bench.answer(MessageType::Nak, 120);
    assert_eq!(bench.said(), [] as [&str; 0]);
    assert_eq!(bench.wait(), 2);
    assert_eq!(bench.said(), ["Discover ciaddr 0.0.0.0 requested - server - Discovery"]);
    bench.answer(MessageType::Offer, 120);
    bench.answer(MessageType::Ack, 120);
    assert_eq!(bench.granted, 1);
}

#[test]
fn a_lease_is_renewed_at_t1() {
    let mut bench = Bench::bound(120);
    assert_eq!(bench.wait(), 60);
    assert_eq!(bench.said(), ["Request ciaddr 10.1.0.5 requested - server - Server(10.1.0.1)"]);
    bench.now += seconds(1);
    let ack = bench.message(MessageType::Ack, ADDRESS, 600);
    bench.happen(Event::Received(ack, None));
    let State::Bound { grant } = &bench.state else { panic!("{:?}", bench.state) };
    assert_eq!([grant.t1, grant.t2, grant.end].map(Option::unwrap), [1360, 1585, 1660].map(seconds));
    assert_eq!((bench.granted, grant.server_mac), (2, Some(SERVER_MAC)));
}

#[test]
fn a_lease_that_nobody_prolongs_is_rebound_and_ends() {
    let mut bench = Bench::bound(3600);
    let mut log = Vec::new();
    while bench.state.deadline().is_some() {
        bench.wait();
        let at = bench.now.as_secs() - 1000;
        log.extend(bench.said().into_iter().map(|said| format!("{at} {}", said.rsplit(' ').next().unwrap())));
    }
    // Half of what is left until T2 (3150) and until the end, but not less than a minute.
    let renewals = ["1800", "2475", "2812", "2981", "3065", "3125"].map(|at| format!("{at} Server(10.1.0.1)"));
    let rebindings = ["3150", "3375", "3487", "3547"].map(|at| format!("{at} AllServers"));
    assert_eq!(log, [&renewals[..], &rebindings[..]].concat());
    assert_eq!(bench.state, State::Ended(Ending::Expired(ADDRESS)));
    assert_eq!(bench.now, seconds(4600));
}

#[test]
fn after_a_nak_the_same_address_is_asked_for() {
    let mut bench = Bench::bound(120);
    bench.wait();
    bench.said();
    bench.answer(MessageType::Nak, 0);
    assert_eq!(bench.said(), ["Discover ciaddr 0.0.0.0 requested 10.1.0.5 server - Discovery"]);
    let other = bench.message(MessageType::Offer, Ipv4Addr::new(10, 1, 0, 6), 120);
    bench.happen(Event::Received(other, Some(SERVER_MAC)));
    assert_eq!(bench.said(), [] as [&str; 0], "the container cannot take another address");
    assert_eq!(bench.state.grant().unwrap().address, ADDRESS);
    bench.answer(MessageType::Offer, 120);
    bench.answer(MessageType::Ack, 120);
    assert_eq!(bench.granted, 2);

    bench.wait();
    bench.answer(MessageType::Nak, 0);
    while bench.state.deadline().is_some() {
        bench.wait();
    }
    assert_eq!(bench.state, State::Ended(Ending::Refused(ADDRESS)));
    assert_eq!(bench.now, seconds(1130), "as long as an answer may take");
}

#[test]
fn a_new_process_goes_on_where_the_old_one_was() {
    let grant = Bench::bound(120).state.grant().unwrap().clone();
    let resumed = |now| Bench::new(|client, at| client.resume(grant.clone(), at), now);
    let mut bench = resumed(1059);
    assert!(bench.sent.is_empty() && matches!(bench.state, State::Bound { .. }));
    assert_eq!(bench.wait(), 1);
    assert_eq!(resumed(1061).said(), ["Request ciaddr 10.1.0.5 requested - server - Server(10.1.0.1)"]);
    assert_eq!(resumed(1106).said(), ["Request ciaddr 10.1.0.5 requested - server - AllServers"]);
    // INIT-REBOOT: the address as an option, no server.
    let mut bench = resumed(1121);
    assert_eq!(bench.said(), ["Request ciaddr 0.0.0.0 requested 10.1.0.5 server - Discovery"]);
    bench.answer(MessageType::Ack, 120);
    assert_eq!(bench.state.grant().unwrap().end, Some(seconds(1241)));

    let mut bench = resumed(1121);
    bench.answer(MessageType::Nak, 0);
    assert_eq!(bench.said().last().unwrap(), "Discover ciaddr 0.0.0.0 requested 10.1.0.5 server - Discovery");
    let mut bench = resumed(1121);
    while bench.state.deadline().is_some() {
        bench.wait();
    }
    assert_eq!((bench.state, bench.now), (State::Ended(Ending::Expired(ADDRESS)), seconds(1131)));
}

#[test]
fn answers_to_others_are_not_heard() {
    let bench = Bench::start();
    let good = bench.message(MessageType::Offer, ADDRESS, 120);
    let with = |change: &dyn Fn(&mut Message)| {
        let mut message = good.clone();
        change(&mut message);
        message
    };
    for other in [
        with(&|m| m.xid += 1),
        with(&|m| m.mac = SERVER_MAC),
        with(&|m| m.options.set(code::CLIENT_ID, *b"b")),
        with(&|m| m.options = m.options.clone().without(code::SERVER)),
        with(&|m| m.yiaddr = Ipv4Addr::UNSPECIFIED),
        with(&|m| m.kind = MessageType::Ack),
        with(&|m| m.kind = MessageType::Nak),
        with(&|m| m.kind = MessageType::Unknown(77)),
    ] {
        let (state, actions) =
            bench.client.step(bench.state.clone(), Event::Received(other.clone(), None), bench.moment());
        assert_eq!((state, actions), (bench.state.clone(), Vec::new()), "{other:?}");
    }
    let own = with(&|m| m.options.set(code::CLIENT_ID, [0, b'a']));
    let (state, _) = bench.client.step(bench.state.clone(), Event::Received(own, None), bench.moment());
    assert!(matches!(state, State::Requesting { .. }));
}

#[test]
fn release_says_farewell_for_what_the_server_may_have_given() {
    let farewell =
        "Release ciaddr 10.1.0.5 requested - server 10.1.0.1 Farewell(10.1.0.1, Some(MacAddr([2, 0, 0, 0, 0, 9])))";
    let mut bench = Bench::start();
    bench.said();
    bench.happen(Event::Release);
    assert_eq!(bench.said(), [] as [&str; 0]);

    let mut bench = Bench::start();
    bench.answer(MessageType::Offer, 120);
    bench.said();
    bench.happen(Event::Release);
    assert_eq!(bench.said(), [farewell]);

    let mut bench = Bench::bound(120);
    bench.happen(Event::Release);
    assert_eq!(bench.sent[0].0.options.value(code::CLIENT_ID), Some(&[0, b'a'][..]));
    assert_eq!(bench.said(), [farewell]);
    assert_eq!(bench.state, State::Ended(Ending::Released));
    bench.happen(Event::Release);
    assert_eq!(bench.said(), [] as [&str; 0]);
}

#[test]
fn times_are_the_servers_or_the_rfcs() {
    let times = |lease: u32, t1: Option<u32>, t2: Option<u32>| {
        let mut options: Options =
            [(code::SERVER, vec![1, 1, 1, 1]), (code::SUBNET_MASK, vec![255, 0, 0, 0])].into_iter().collect();
        options.set(code::LEASE_TIME, lease.to_be_bytes());
        t1.into_iter().for_each(|t1| options.set(code::RENEWAL_TIME, t1.to_be_bytes()));
        t2.into_iter().for_each(|t2| options.set(code::REBINDING_TIME, t2.to_be_bytes()));
        let grant = Grant::new(ADDRESS, options, None, seconds(0)).unwrap();
        [grant.t1, grant.t2, grant.end].map(|time| time.map(|time| time.as_secs()))
    };
    assert_eq!(times(800, None, None), [Some(400), Some(700), Some(800)]);
    assert_eq!(times(800, Some(100), Some(200)), [Some(100), Some(200), Some(800)]);
    assert_eq!(times(800, Some(300), Some(200)), [Some(200), Some(200), Some(800)]);
    assert_eq!(times(800, Some(300), Some(900)), [Some(300), Some(700), Some(800)]);
    assert_eq!(times(800, Some(0), None), [Some(400), Some(700), Some(800)]);
    assert_eq!(times(u32::MAX, None, None), [None, None, None]);
    assert_eq!(times(0, None, None)[2], Some(2));
}

#[test]
fn a_lease_without_a_mask_is_given_back() {
    let mut bench = Bench::start();
    bench.answer(MessageType::Offer, 120);
    bench.said();
    let mut ack = bench.message(MessageType::Ack, ADDRESS, 120);
    ack.options = ack.options.without(code::SUBNET_MASK);
    bench.happen(Event::Received(ack, Some(SERVER_MAC)));
    assert!(bench.said()[0].starts_with("Release ciaddr 10.1.0.5"));
    assert_eq!(bench.state, State::Ended(Ending::Unusable(Unusable::NoMask)));
}

fn kinds() -> impl Strategy<Value = MessageType> {
    (0_u8..9).prop_map(MessageType::from)
}

proptest! {
    /// Whatever servers say and whenever: time is needed between two rounds of messages, so nobody keeps the client busy.
    #[test]
    fn a_client_is_never_busy(events in proptest::collection::vec((kinds(), any::<u32>(), 0_u64..5000, any::<bool>()), 1..60)) {
        let mut bench = Bench::start();
        for (kind, lease, wait, same) in events {
            let address = if same { ADDRESS } else { Ipv4Addr::new(10, 1, 0, 6) };
            let message = bench.message(kind, address, lease);
            bench.happen(Event::Received(message, None));
            bench.now += Duration::from_millis(wait);
            for _ in 0..4 {
                bench.happen(Event::Timer);
            }
            if let Some(deadline) = bench.state.deadline() {
                prop_assert!(deadline > bench.now, "{:?} at {:?}", bench.state, bench.now);
            }
        }
    }
}
