//! resolv.conf(5), as far as results can say it.

use libcni::types::Dns;

/// Reads `text`. Comments (`#` and `;` in the first column), lines without a value and other keywords are skipped;
/// the last `domain` wins; all else is collected in order.
pub(crate) fn parse(text: &str) -> Dns {
    let mut dns = Dns::default();
    for line in text.lines().filter(|line| !line.starts_with(['#', ';'])) {
        let mut words = line.split_whitespace();
        let (Some(keyword), Some(first)) = (words.next(), words.next()) else { continue };
        let all = || std::iter::once(first).chain(words).map(str::to_owned);
        match keyword {
            "nameserver" => dns.nameservers.push(first.to_owned()),
            "domain" => first.clone_into(&mut dns.domain),
            "search" => dns.search.extend(all()),
            "options" => dns.options.extend(all()),
            _ => {}
        }
    }
    dns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_a_result_can_say_is_read() {
        let dns = parse(
            "# comment\n; comment\n\nnameserver 10.0.0.10\nnameserver\tfd00::10 trailing\ndomain a.example\n\
             domain b.example\nsearch one two\nsearch three\noptions ndots:5 rotate\nsortlist 1.2.3.4\nnameserver\n",
        );
        assert_eq!(dns.nameservers, ["10.0.0.10", "fd00::10"]);
        assert_eq!(dns.domain, "b.example");
        assert_eq!(dns.search, ["one", "two", "three"]);
        assert_eq!(dns.options, ["ndots:5", "rotate"]);
        assert!(parse("").is_empty());
    }
}
