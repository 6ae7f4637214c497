//! Where everything stands in the picture: the host on the left, a panel for each network, in it the bridge as a bar and
//! the containers as cards that hang on rails. Lengths are in units of the picture, which is a pixel at its full size.

use super::side::{Group, Side, groups};
use super::view::{Row, View};
use crate::node::{Inventory, Overlay};
use crate::report::counted;

/// Around everything, and between panels.
const MARGIN: f64 = 20.0;
/// Between cards, and between the edge of a box and what is in it.
const GAP: f64 = 14.0;
const PADDING: f64 = 10.0;
/// The host's column, the bars, the cards.
const HOST_WIDTH: f64 = 240.0;
const BAR_WIDTH: f64 = 150.0;
const CARD_WIDTH: f64 = 216.0;
/// How far cards hang below their rail.
const STUB: f64 = 10.0;
/// The title of the picture and those of panels.
const TITLE_HEIGHT: f64 = 40.0;
const HEAD_HEIGHT: f64 = 42.0;
/// A line of text, and how wide a character of it is: fonts with characters of one width need no more.
pub(super) const LINE_HEIGHT: f64 = 17.0;
pub(super) const CHARACTER: f64 = 7.4;
/// Of what there may be many, so many lines are shown.
const ADDRESSES_SHOWN: usize = 3;
const PORT_LINES: usize = 2;
const ODD_LINES: usize = 3;
const UPLINKS_SHOWN: usize = 8;
const PEERS_SHOWN: usize = 14;

/// A box of the picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Area {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

/// How a line of text looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    Name,
    Plain,
    Dim,
    Port,
    Odd,
}

/// A line of text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) look: Look,
    pub(super) text: String,
}

/// A box with text. What is shortened in it stands in `tooltip`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Card {
    pub(super) area: Area,
    pub(super) lines: Vec<Line>,
    pub(super) tooltip: String,
    pub(super) is_odd: bool,
}

/// From here to there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Stroke {
    pub(super) from: (f64, f64),
    pub(super) to: (f64, f64),
}

/// A network, or the part of it that is on one side.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Panel {
    pub(super) area: Area,
    pub(super) title: String,
    /// The bridge; where there is none, what is there instead.
    pub(super) bar: Card,
    pub(super) is_bridge: bool,
    pub(super) rails: Vec<Stroke>,
    pub(super) cards: Vec<Card>,
}

/// The whole.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Picture {
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) title: String,
    /// The host, its uplinks, overlays.
    pub(super) host: Vec<Card>,
    /// From the host to the bars.
    pub(super) trunk: Vec<Stroke>,
    pub(super) panels: Vec<Panel>,
}

impl Picture {
    /// The picture of a view.
    pub(super) fn of(view: &View<'_>) -> Self {
        let groups = groups(view);
        let columns = columns(&groups);
        let left = MARGIN + HOST_WIDTH + 2.0 * MARGIN;
        let mut y = MARGIN + TITLE_HEIGHT;
        let host = host(view, y);
        let mut panels: Vec<Panel> = Vec::new();
        for group in &groups {
            let panel = panel(view, group, columns, left, y);
            y = panel.area.bottom() + MARGIN;
            panels.push(panel);
        }
        let right = panels.iter().map(|panel| panel.area.right()).fold(left, f64::max);
        let bottom = panels.iter().map(|panel| panel.area.bottom()).chain(host.iter().map(|card| card.area.bottom()));
        let bottom = bottom.fold(0.0, f64::max);
        let trunk = trunk(&host, &panels, left - MARGIN);
        let networks = view.networks().count();
        let title = format!("{} to {}", counted(view.rows.len(), "attachment"), counted(networks, "network"));
        Self { width: right + MARGIN, height: bottom + MARGIN, title, host, trunk, panels }
    }
}

impl Area {
    pub(super) fn right(self) -> f64 {
        self.x + self.width
    }

    pub(super) fn bottom(self) -> f64 {
        self.y + self.height
    }

    fn middle(self) -> f64 {
        self.y + self.height / 2.0
    }

    /// How many characters go into a line of it.
    fn characters(self) -> usize {
        characters(self.width)
    }
}

fn characters(width: f64) -> usize {
    let mut count = 0;
    let mut room = width - 2.0 * PADDING - CHARACTER;
    while room >= 0.0 {
        room -= CHARACTER;
        count += 1;
    }
    count
}

/// `count` times `length`.
fn times(count: usize, length: f64) -> f64 {
    (0..count).fold(0.0, |sum, _| sum + length)
}

/// How many cards stand side by side: so that the picture is not too far from the shape of a page or a screen.
fn columns(groups: &[Group<'_, '_>]) -> usize {
    let all: usize = groups.iter().map(|group| group.rows.len()).sum();
    let most = groups.iter().map(|group| group.rows.len()).max().unwrap_or_default();
    let wanted = match all {
        0..=8 => 3,
        9..=30 => 4,
        31..=60 => 5,
        61..=150 => 6,
        _ => 8,
    };
    wanted.min(most).max(1)
}

fn card(area: Area, lines: Vec<Line>, tooltip: String) -> Card {
    let height = 2.0 * PADDING + times(lines.len(), LINE_HEIGHT);
    Card { area: Area { height: area.height.max(height), ..area }, lines, tooltip, is_odd: false }
}

fn line(look: Look, text: impl Into<String>) -> Line {
    Line { look, text: text.into() }
}

fn panel(view: &View<'_>, group: &Group<'_, '_>, columns: usize, x: f64, y: f64) -> Panel {
    let first_card = x + GAP + BAR_WIDTH + 2.0 * GAP;
    let top = y + HEAD_HEIGHT;
    let (mut cards, mut rails, mut rail) = (Vec::new(), Vec::new(), top);
    for rows in group.rows.chunks(columns) {
        let mut bottom = rail;
        for (column, row) in rows.iter().enumerate() {
            let area = Area {
                x: first_card + times(column, CARD_WIDTH + GAP),
                y: rail + STUB,
                width: CARD_WIDTH,
                height: 0.0,
            };
            let card = container(row, area);
            bottom = bottom.max(card.area.bottom());
            let middle = area.x + CARD_WIDTH / 2.0;
            rails.push(Stroke { from: (middle, rail), to: (middle, rail + STUB) });
            cards.push(card);
        }
        let last = first_card + times(rows.len() - 1, CARD_WIDTH + GAP) + CARD_WIDTH / 2.0;
        rails.push(Stroke { from: (x + GAP + BAR_WIDTH, rail), to: (last, rail) });
        rail = bottom + GAP;
    }
    let bar = Area { x: x + GAP, y: top - STUB / 2.0, width: BAR_WIDTH, height: rail - top };
    let bar = bar_of(view, group, bar);
    let bottom = bar.area.bottom().max(rail) + GAP / 2.0;
    let width = first_card + times(columns, CARD_WIDTH + GAP) - x;
    let area = Area { x, y, width, height: bottom - y };
    let title = shortened(&title(group), characters(width));
    Panel { area, title, bar, is_bridge: matches!(group.side, Side::Bridge(_)), rails, cards }
}

fn title(group: &Group<'_, '_>) -> String {
    let list = group.rows.first().and_then(|row| row.attached.list.as_ref());
    let types = list.map(|list| list.plugins.iter().map(|plugin| plugin.plugin_type.as_str()).collect::<Vec<_>>());
    let types = types.map(|types| format!(": {}", types.join(", "))).unwrap_or_default();
    format!("{}{types}", group.network)
}

/// The bridge with its addresses; or what there is instead.
fn bar_of(view: &View<'_>, group: &Group<'_, '_>, area: Area) -> Card {
    let room = area.characters();
    let mut lines = Vec::new();
    match group.side {
        Side::Bridge(name) => {
            lines.push(line(Look::Name, name));
            if let Some(bridge) = view.bridges.iter().find(|bridge| bridge.link.name == name) {
                lines.push(line(Look::Dim, if bridge.link.is_up { "bridge" } else { "bridge, down" }));
                lines.extend(bridge.shown_addresses().map(|net| line(Look::Plain, shortened(&net.to_string(), room))));
                lines.push(line(Look::Dim, counted(bridge.ports.len(), "port")));
                lines.push(line(Look::Dim, format!("MTU {}", bridge.link.mtu)));
            }
        }
        Side::Routed => lines.extend([line(Look::Name, "routed"), line(Look::Dim, "a veth each")]),
        Side::On(name) => lines.extend([line(Look::Name, shortened(name, room)), line(Look::Dim, "shared link")]),
        Side::Unknown => lines.push(line(Look::Name, "no link known")),
    }
    card(area, lines, String::new())
}

fn container(row: &Row<'_>, area: Area) -> Card {
    let room = area.characters();
    let attached = row.attached;
    let name = attached.pod.as_ref().map_or_else(|| row.short_id().to_owned(), |pod| pod.name.clone());
    let namespace = attached.pod.as_ref().and_then(|pod| pod.namespace.clone());
    let under = match namespace {
        Some(namespace) => format!("{namespace} {}", attached.id.ifname),
        None if attached.pod.is_some() => format!("{} {}", row.short_id(), attached.id.ifname),
        None => attached.id.ifname.to_string(),
    };
    let mut lines = vec![line(Look::Name, shortened(&name, room)), line(Look::Dim, shortened(&under, room))];
    let addresses: Vec<String> = row.addresses.iter().map(ToString::to_string).collect();
    lines.extend(some(&addresses, ADDRESSES_SHOWN, room, Look::Plain));
    let ports: Vec<String> = row.ports.iter().map(|port| port.mapping.to_string()).collect();
    lines.extend(some(&packed(&ports, room), PORT_LINES, room, Look::Port));
    let odd = crate::terminal::wrap(&row.odd.join(", "), room);
    lines.extend(some(&odd, ODD_LINES, room, Look::Odd).into_iter().filter(|line| !line.text.is_empty()));
    Card { is_odd: !row.odd.is_empty(), ..card(area, lines, tooltip(row)) }
}

/// Everything in full.
fn tooltip(row: &Row<'_>) -> String {
    let attached = row.attached;
    let id = attached.id.container_id.to_string();
    let mut lines = vec![row.name(), format!("container {id}, {}", attached.id.ifname)];
    lines.extend(attached.netns.iter().map(|path| path.display().to_string()));
    lines.extend(row.addresses.iter().map(ToString::to_string));
    lines.extend(row.host_link.map(|link| format!("host end {}", link.name)));
    lines.extend(row.ports.iter().map(|port| port.mapping.to_string()));
    lines.extend(row.odd.iter().cloned());
    lines.join("\n")
}

/// The first `most` of `texts`; the last of these lines says how many there are besides.
fn some(texts: &[String], most: usize, room: usize, look: Look) -> Vec<Line> {
    let shown = if texts.len() > most { most - 1 } else { texts.len() };
    let (shown, rest) = texts.split_at(shown);
    let mut lines: Vec<Line> = shown.iter().map(|text| line(look, shortened(text, room))).collect();
    if !rest.is_empty() {
        lines.push(line(look, format!("and {} more", rest.len())));
    }
    lines
}

/// As many words in a line as there is room for.
fn packed(words: &[String], room: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in words {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= room => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.clone()),
        }
    }
    lines
}

/// `text` in at most `room` characters: its beginning and its end, which tell names of pods apart.
pub(super) fn shortened(text: &str, room: usize) -> String {
    let length = text.chars().count();
    if length <= room {
        return text.to_owned();
    }
    let end = room / 3;
    let begin: String = text.chars().take(room.saturating_sub(end + 1)).collect();
    let end: String = text.chars().skip(length - end).collect();
    format!("{begin}…{end}")
}

/// The host's column.
fn host(view: &View<'_>, y: f64) -> Vec<Card> {
    let mut cards: Vec<Card> = Vec::new();
    let area = |cards: &[Card]| Area {
        x: MARGIN,
        y: cards.last().map_or(y, |card| card.area.bottom() + GAP),
        width: HOST_WIDTH,
        height: 0.0,
    };
    let room = area(&[]).characters();
    let (lines, tooltip) = uplinks(view.inventory, room);
    cards.push(card(area(&cards), lines, tooltip));
    for overlay in &view.inventory.overlays {
        let (lines, tooltip) = peers(overlay, room);
        cards.push(Card { is_odd: !overlay.not_ready.is_empty(), ..card(area(&cards), lines, tooltip) });
    }
    cards
}

/// The host and its links that lead elsewhere than to attachments.
fn uplinks(inventory: &Inventory, room: usize) -> (Vec<Line>, String) {
    let mut lines = vec![line(Look::Name, "host")];
    let Some(host) = inventory.host() else { return (lines, String::new()) };
    let links: Vec<_> = host.links.iter().filter(|link| inventory.is_uplink(link)).collect();
    let mut tooltip = vec!["host".to_owned()];
    for (at, link) in links.iter().enumerate() {
        let addresses = host.addresses_of(link).filter(|address| address.scope != SCOPE_LINK);
        let addresses: Vec<String> = addresses.map(|address| address.net.to_string()).collect();
        tooltip.push(format!("{} {}", link.name, addresses.join(" ")));
        if at < UPLINKS_SHOWN {
            let state = if link.is_up { "" } else { ", down" };
            lines.push(line(Look::Plain, shortened(&format!("{}{state}", link.name), room)));
            lines.extend(some(&addresses, ADDRESSES_SHOWN, room - 2, Look::Dim).into_iter().map(indented));
        }
    }
    if links.len() > UPLINKS_SHOWN {
        lines.push(line(Look::Dim, format!("and {} more links", links.len() - UPLINKS_SHOWN)));
    }
    (lines, tooltip.join("\n"))
}

/// `RT_SCOPE_LINK`.
const SCOPE_LINK: u8 = 253;

fn indented(line: Line) -> Line {
    Line { text: format!("  {}", line.text), ..line }
}

fn peers(overlay: &Overlay, room: usize) -> (Vec<Line>, String) {
    let mut lines = vec![line(Look::Name, "overlay"), line(Look::Dim, shortened(&overlay.backend, room))];
    lines.extend(overlay.subnets.iter().map(|subnet| line(Look::Plain, shortened(subnet, room))));
    lines.push(line(Look::Plain, counted(overlay.peers.len(), "peer")));
    let mut tooltip = vec!["peers".to_owned()];
    for (at, peer) in overlay.peers.iter().enumerate() {
        let whole = format!("{} {} {}: {}", peer.name, peer.subnets.join(" "), peer.endpoints.join(" "), peer.state);
        tooltip.push(whole);
        if at < PEERS_SHOWN {
            let look = if peer.state == "ok" { Look::Dim } else { Look::Odd };
            let text = format!("{} {}", peer.name, peer.subnets.join(" "));
            lines.push(indented(line(look, shortened(&text, room - 2))));
        }
    }
    if overlay.peers.len() > PEERS_SHOWN {
        lines.push(line(Look::Dim, format!("  and {} more", overlay.peers.len() - PEERS_SHOWN)));
    }
    lines.extend(overlay.not_ready.iter().map(|reason| line(Look::Odd, shortened(reason, room))));
    (lines, tooltip.join("\n"))
}

/// A line down beside the panels, from the host to each bar.
fn trunk(host: &[Card], panels: &[Panel], x: f64) -> Vec<Stroke> {
    let (Some(host), Some(last)) = (host.first(), panels.last()) else { return Vec::new() };
    let from = host.area.y + HEAD_HEIGHT / 2.0;
    let branch = |panel: &Panel| panel.bar.area.middle().min(panel.bar.area.y + 2.0 * HEAD_HEIGHT);
    let mut strokes = vec![
        Stroke { from: (host.area.right(), from), to: (x, from) },
        Stroke { from: (x, from.min(branch(last))), to: (x, branch(last).max(from)) },
    ];
    strokes.extend(panels.iter().map(|panel| {
        let y = branch(panel);
        Stroke { from: (x, y), to: (panel.bar.area.x, y) }
    }));
    strokes
}
