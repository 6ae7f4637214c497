//! `cnitool show` on a node with many attachments, by our plugins and by the Go plugins: is it the truth?
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

use ferrule_tests::{Crowd, Maker, Member};
use serde_json::Value;

fn shown(crowd: &Crowd) -> Value {
    let output = crowd.cnitool(&["show", "--format", "json"]);
    assert!(output.status.success(), "{output:?}");
    serde_json::from_str(&output.stdout).unwrap()
}

/// What is shown of an attachment.
fn row<'s>(shown: &'s Value, member: &Member) -> &'s Value {
    let rows = shown["attachments"].as_array().unwrap();
    let is_it = |row: &&Value| row["containerID"] == *member.container.id && row["network"] == *member.network;
    rows.iter().find(is_it).unwrap_or_else(|| panic!("{} is not shown", member.container.id))
}

/// Texts, sorted.
fn texts(values: &Value) -> Vec<&str> {
    let mut texts: Vec<&str> = values.as_array().unwrap().iter().map(|value| value.as_str().unwrap()).collect();
    texts.sort_unstable();
    texts
}

fn addresses(result: &Value) -> Vec<&str> {
    let mut addresses: Vec<&str> =
        result["ips"].as_array().unwrap().iter().map(|ip| ip["address"].as_str().unwrap()).collect();
    addresses.sort_unstable();
    addresses
}

/// The link of the host that the result names, besides the bridge and what bandwidth made.
fn host_veth(result: &Value) -> &str {
    let names = result["interfaces"].as_array().unwrap().iter().filter(|interface| interface["sandbox"].is_null());
    names.map(|interface| interface["name"].as_str().unwrap()).find(|name| name.starts_with("veth")).unwrap()
}

/// Published ports that were asked for and are there, as `8000->80/tcp`.
fn ports(row: &Value) -> Vec<String> {
    let port = |port: &Value| {
        assert_eq!((&port["asked"], &port["published"]), (&true.into(), &true.into()), "{row:#}");
        format!("{}->{}/{}", port["hostPort"], port["containerPort"], port["protocol"].as_str().unwrap())
    };
    let mut ports: Vec<String> = row["ports"].as_array().unwrap().iter().map(port).collect();
    ports.sort();
    ports
}

fn asked_ports(member: &Member) -> Vec<String> {
    let asked = member.container.capabilities["portMappings"].as_array();
    let port = |port: &Value| {
        format!("{}->{}/{}", port["hostPort"], port["containerPort"], port["protocol"].as_str().unwrap())
    };
    let mut ports: Vec<String> = asked.into_iter().flatten().map(port).collect();
    ports.sort();
    ports
}

#[test]
fn every_attachment_is_shown_as_its_add_left_it() {
    let Some(crowd) = Crowd::start(50, 20) else { return };
    let shown = shown(&crowd);
    assert_eq!(shown["attachments"].as_array().unwrap().len(), 70);
    assert_eq!(shown["notes"], serde_json::json!([]));
    for member in &crowd.members {
        let row = row(&shown, member);
        assert_eq!(row["result"], member.result);
        assert_eq!(row["odd"], serde_json::json!([]), "{row:#}");
        assert_eq!(row["pod"], serde_json::json!({"namespace": member.pod.0, "name": member.pod.1}));
        assert_eq!(texts(&row["addresses"]), addresses(&member.result));
        assert_eq!(ports(row), asked_ports(member));
        let link = row["hostLink"].as_str().unwrap();
        assert_eq!(link, host_veth(&member.result), "{row:#}");
        let master = crowd.node.host.find_link(link).unwrap()["master"].clone();
        assert_eq!(row["bridge"], master, "{row:#}");
    }
    for bridge in shown["bridges"].as_array().unwrap() {
        let name = bridge["name"].as_str().unwrap();
        let ports = crowd.node.host.json(&format!("ip -j link show master {name}"));
        let mut ports: Vec<&str> =
            ports.as_array().unwrap().iter().map(|port| port["ifname"].as_str().unwrap()).collect();
        ports.sort_unstable();
        assert_eq!(texts(&bridge["ports"]), ports);
        let on_it = crowd.members.iter().filter(|member| row(&shown, member)["bridge"] == *name).count();
        assert_eq!(ports.len(), on_it);
    }
    assert_eq!(shown["bridges"].as_array().unwrap().len(), 5);
    let host = shown["namespaces"].as_array().unwrap().iter().find(|namespace| namespace["isHost"] == true).unwrap();
    let veths =
        host["links"].as_array().unwrap().iter().filter(|link| link["name"].as_str().unwrap().starts_with("veth"));
    assert_eq!(veths.filter(|veth| veth["leadsTo"]["name"] == "eth0").count(), 70);
    assert_eq!(shown["strayPorts"], serde_json::json!([]));
    for owned in shown["owned"].as_array().unwrap() {
        assert_eq!(owned["standing"], "alive", "{owned:#}");
    }
}

#[test]
fn the_picture_shows_everybody_and_nothing_overlaps() {
    let Some(crowd) = Crowd::start(50, 0) else { return };
    crowd.node.kill(&crowd.members[3].container);
    let (svg, dot) = (crowd.node.dir().join("node.svg"), crowd.node.dir().join("node.dot"));
    let output = crowd.cnitool(&["show", "--svg", svg.to_str().unwrap(), "--dot", dot.to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    let svg = std::fs::read_to_string(svg).unwrap();
    let picture = Drawing::parse(&svg);
    for member in &crowd.members {
        for text in std::iter::once(member.pod.1.as_str()).chain(addresses(&member.result)) {
            assert!(picture.texts.iter().any(|(_, _, shown)| shown == text), "{text} is not in the picture");
        }
        for port in asked_ports(member) {
            let escaped = port.replace('>', "&gt;");
            assert!(picture.texts.iter().any(|(_, _, shown)| shown.contains(&escaped)), "{port} is not in the picture");
        }
    }
    assert_eq!(picture.boxes("broken").count(), 1);
    assert_eq!(picture.boxes("card").count(), 49);
    picture.assert_tidy();
    assert!(!svg.replace("http://www.w3.org/2000/svg", "").contains("http"), "nothing comes from elsewhere");

    let dot = std::fs::read_to_string(dot).unwrap();
    assert_eq!(dot.matches(" -> attachment").count(), 50);
    assert_eq!(dot.matches('{').count(), dot.matches('}').count());
    assert!(dot.lines().all(|line| line.replace("\\\"", "").matches('"').count() % 2 == 0), "{dot}");
}

/// Without any privilege firewalls cannot be read, and no namespace entered; that used to end in an abort.
#[test]
fn a_bug_aborted_those_without_privileges() {
    let Some(ours) = ferrule_tests::Binaries::ours() else { return };
    let mut command = std::process::Command::new("unshare");
    command.args(["-Un"]).arg(ours.plugin("cnitool")).args(["--cache-dir", "/nowhere", "show"]);
    let output = command.output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{output:?}");
    assert!(stdout.starts_with("0 attachments to 0 networks"), "{stdout}");
    assert!(stderr.contains("Warning: cannot read the rules of nftables"), "{stderr}");
}

#[test]
fn names_of_any_kind_and_length_fit_into_the_picture() {
    let Some(crowd) = Crowd::start(1, 0) else { return };
    let long = "a-deployment-with-a-very-long-name-5d78c9869d-abcde";
    for (at, (network, name)) in [("edge", long), ("pods", "<a & \"b\">"), ("storage", "")].into_iter().enumerate() {
        let args = format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=a-namespace-with-a-long-name;K8S_POD_NAME={name}");
        let mut container = crowd.node.container("odd").with_args(&args);
        for port in 0..5 {
            container = container.publish("tcp", 30000 + u16::try_from(at).unwrap() * 10 + port, 80);
        }
        let _result = crowd.attach_to(network, &container, Maker::Ours);
    }
    let svg = crowd.node.dir().join("node.svg");
    let output = crowd.cnitool(&["show", "--svg", svg.to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    let svg = std::fs::read_to_string(svg).unwrap();
    Drawing::parse(&svg).assert_tidy();
    assert!(svg.contains(&format!("a-namespace-with-a-long-name/{long}")), "in full for the pointer");
    assert!(svg.contains("&lt;a &amp; &quot;b&quot;&gt;"));
}

/// A box of a picture.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Box {
    x: f64,
    y: f64,
    right: f64,
    bottom: f64,
}

impl Box {
    fn overlaps(self, other: Self) -> bool {
        self.x < other.right && other.x < self.right && self.y < other.bottom && other.y < self.bottom
    }

    fn holds(self, x: f64, y: f64) -> bool {
        self.x <= x && x <= self.right && self.y <= y && y <= self.bottom
    }
}

/// What an SVG of ours draws.
struct Drawing {
    boxes: Vec<(String, Box)>,
    /// Where texts begin.
    texts: Vec<(f64, f64, String)>,
}

impl Drawing {
    /// Reads it, and panics if it is no well-formed XML.
    fn parse(svg: &str) -> Self {
        let mut drawing = Self { boxes: Vec::new(), texts: Vec::new() };
        let (mut open, mut rest) = (Vec::new(), svg);
        while let Some((text, tail)) = rest.split_once('<') {
            assert!(!text.contains('>') || open.last() == Some(&"style"), "{text}");
            let entities = text.split('&').skip(1);
            assert!(
                entities.into_iter().all(|e| ["amp;", "lt;", "gt;", "quot;"].iter().any(|k| e.starts_with(k))),
                "{text}"
            );
            let (tag, tail) = tail.split_once('>').unwrap();
            let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap();
            let number = |key: &str| attribute(tag, key).parse::<f64>().unwrap();
            match (tag.starts_with('/'), tag.ends_with('/')) {
                (true, _) => assert_eq!(open.pop(), Some(name)),
                (false, true) => {}
                (false, false) => open.push(name),
            }
            match name {
                "rect" => {
                    let (x, y) = (number("x"), number("y"));
                    let area = Box { x, y, right: x + number("width"), bottom: y + number("height") };
                    drawing.boxes.push((attribute(tag, "class").to_owned(), area));
                }
                "text" if !tag.starts_with('/') => {
                    let text = tail.split('<').next().unwrap().to_owned();
                    drawing.texts.push((number("x"), number("y"), text));
                }
                _ => {}
            }
            rest = tail;
        }
        assert!(open.is_empty() && rest.trim().is_empty(), "{open:?} {rest}");
        drawing
    }

    fn boxes<'d>(&'d self, class: &'d str) -> impl Iterator<Item = Box> + 'd {
        self.boxes.iter().filter(move |(of, _)| of == class).map(|(_, area)| *area)
    }

    /// No two boxes overlap but panels and what is in them, and every text has room in its box.
    fn assert_tidy(&self) {
        let inner: Vec<Box> =
            ["card", "broken", "bar", "routed", "host"].iter().flat_map(|class| self.boxes(class)).collect();
        for (at, one) in inner.iter().enumerate() {
            assert!(inner.iter().skip(at + 1).all(|other| !one.overlaps(*other)), "{one:?}");
        }
        let page = self.boxes("page").next().unwrap();
        let panels: Vec<Box> = self.boxes("panel").collect();
        for (x, y, text) in &self.texts {
            let area = inner.iter().chain(&panels).find(|area| area.holds(*x, *y)).unwrap_or(&page);
            let characters = text.replace("&gt;", ">").replace("&amp;", "&").chars().count();
            // A character of 12 px is 7.22 px wide in the fonts that are asked for.
            let right = (0..characters).fold(*x, |right, _| right + 7.23);
            assert!(area.holds(right, *y), "{text:?} is longer than its box");
        }
    }
}

fn attribute<'t>(tag: &'t str, key: &str) -> &'t str {
    let (_, rest) = tag.split_once(&format!(" {key}=\"")).unwrap_or_else(|| panic!("no {key} in {tag}"));
    rest.split('"').next().unwrap()
}

#[test]
fn a_container_whose_namespace_is_gone_is_marked() {
    let Some(crowd) = Crowd::start(6, 0) else { return };
    let gone = &crowd.members[3];
    crowd.node.kill(&gone.container);
    let shown = shown(&crowd);
    for member in &crowd.members {
        let row = row(&shown, member);
        let is_gone = member.container.id == gone.container.id;
        assert_eq!(row["netnsAlive"], !is_gone, "{row:#}");
        assert_eq!(row["odd"], if is_gone { serde_json::json!(["namespace gone"]) } else { serde_json::json!([]) });
    }
}
