use super::*;

fn read(line: &str) -> Result<Command, ArgsError> {
    parse(line.split_whitespace().map(OsString::from), [])
}

#[test]
fn what_is_to_be_done() {
    assert_eq!(read(""), Ok(Command::Run(Sources::default())));
    let named = Sources { config: Some("/c".into()), ..Sources::default() };
    assert_eq!(read("--config /c"), Ok(Command::Run(named.clone())));
    for line in ["check-config -config=/c", "--config=/c --check"] {
        assert_eq!(read(line), Ok(Command::CheckConfig(named.clone())), "{line}");
    }
    assert_eq!(read("cleanup --config /c"), Ok(Command::Cleanup { sources: named.clone(), store: false }));
    assert_eq!(read("--config /c cleanup --store"), Ok(Command::Cleanup { sources: named, store: true }));
    assert_eq!(read("--version"), Ok(Command::Version));
    assert_eq!(read("--nonsense-after --help"), Err(ArgsError::Unknown("--nonsense-after".to_owned())));
    assert_eq!(read("-h"), Ok(Command::Help));
}

#[test]
fn mistakes_are_told() {
    let told = |line: &str| read(line).unwrap_err().to_string();
    assert_eq!(told("--ifaces eth0"), "flag provided but not defined: --ifaces");
    assert_eq!(told("-iface"), "flag needs an argument: -iface");
    assert!(told("--ip-masq true").starts_with("unexpected argument \"true\" (hint: "));
    assert_eq!(told("--store"), "flag provided but not defined: --store");
    let not_text = parse([std::os::unix::ffi::OsStringExt::from_vec(vec![0xff])], []);
    assert_eq!(not_text.unwrap_err().to_string(), "an argument is not UTF-8: \"\\xFF\"");
}

#[test]
fn every_flag_is_in_the_help_once_and_means_a_setting_of_its_own() {
    let help = usage();
    for flag in FLAGS {
        assert_eq!(help.matches(&format!("  --{} ", flag.name)).count(), 1, "{}", flag.name);
        let same = FLAGS.iter().filter(|other| !other.path.is_empty() && other.path == flag.path).count();
        assert!(same <= 1, "{}", flag.name);
    }
}

#[test]
fn flags_without_effect_are_told() {
    let Ok(Command::Run(sources)) = read("--iptables-resync=5 --ip-masq") else { panic!("it is right") };
    assert_eq!(sources.without_effect(), ["iptables-resync"]);
}
