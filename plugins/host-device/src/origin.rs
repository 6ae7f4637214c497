//! Finding a device again, and where it belongs: by its mark; what the Go plugin took, by its alias.

use libcni::names::IfName;
use libcni::plugin::{Attachment, Call};
use libcni::types::MacAddr;
use linuxnet::link::Link;

use crate::conf::Conf;
use crate::mark::{Mark, Owner};

/// What a device was on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// Its name; `None` if nobody knows any more.
    pub(crate) name: Option<IfName>,
    /// Everything else; `None` for what the Go plugin took.
    pub(crate) mark: Option<Mark>,
}

impl Origin {
    /// What its mark says.
    pub(crate) fn of_mark(mark: Mark) -> Self {
        Self { name: Some(mark.name.clone()), mark: Some(mark) }
    }

    fn of_name(name: Option<IfName>) -> Self {
        Self { name, mark: None }
    }

    /// The alias of a device that cannot have its name.
    pub(crate) fn alias(&self) -> &str {
        self.name.as_ref().map_or("", IfName::as_str)
    }
}

/// What is known of the device of an attachment.
#[derive(Clone, Debug)]
pub(crate) struct Sought {
    owner: Owner,
    ifname: String,
    /// `device` of the configuration.
    configured: Option<String>,
    /// What the result of ADD says.
    mac: Option<MacAddr>,
}

impl Sought {
    /// The device of a call's attachment.
    pub(crate) fn of(call: &Call<'_>, attachment: &Attachment) -> Self {
        let reported = call.config.prev_result.as_ref().and_then(|r| r.container_interface(attachment.ifname()));
        Self {
            owner: Owner::new(&call.config.name, &attachment.id),
            ifname: attachment.ifname().to_owned(),
            configured: Conf::device_name(call),
            mac: reported.and_then(|(_, interface)| interface.mac.parse().ok()),
        }
    }

    /// The same for a device that is known.
    pub(crate) fn known(self, device: &Link) -> Self {
        Self { configured: Some(device.name.clone()), mac: device.mac, ..self }
    }

    /// The device among the links with its own mark.
    pub(crate) fn marked<'l>(&self, links: &'l [Link]) -> Option<(&'l Link, Origin)> {
        links.iter().find_map(|link| {
            let mark = Mark::on(link).filter(|mark| mark.owner == self.owner)?;
            Some((link, Origin::of_mark(mark)))
        })
    }

    /// The device among the links of the container.
    pub(crate) fn in_container<'l>(&self, links: &'l [Link]) -> Option<(&'l Link, Origin)> {
        self.marked(links).or_else(|| links.iter().find_map(|link| Some((link, self.unmarked(link)?))))
    }

    /// A device without a mark, as the Go plugin leaves it in the container: under the attachment's name with the
    /// original one as alias. Either may have been changed inside since; not both.
    fn unmarked(&self, link: &Link) -> Option<Origin> {
        if Mark::on(link).is_some() || self.mac.is_some_and(|mac| link.mac.is_some_and(|is| is != mac)) {
            return None;
        }
        let alias = link.alias.as_deref().and_then(|alias| alias.parse::<IfName>().ok());
        let is_configured = |alias: &IfName| self.configured.as_deref() == Some(alias.as_str());
        match alias {
            Some(alias) if link.name == self.ifname || is_configured(&alias) => Some(Origin::of_name(Some(alias))),
            // Without the address that ADD reported it could be anybody's.
            None if link.name == self.ifname && self.mac.is_some() && link.mac == self.mac => {
                Some(Origin::of_name(self.configured.as_deref().and_then(|name| name.parse().ok())))
            }
            Some(_) | None => None,
        }
    }

    /// The device among the links of the host, where the kernel puts it when the container's namespace ends; or where it
    /// still is.
    pub(crate) fn on_host<'l>(&self, links: &'l [Link]) -> Option<(&'l Link, Origin)> {
        self.marked(links).or_else(|| {
            let configured = self.configured.as_deref()?;
            let is_it = |link: &&Link| {
                let is_other_mac = self.mac.is_some_and(|mac| link.mac != Some(mac));
                link.alias.as_deref() == Some(configured) && link.name != configured && !is_other_mac
            };
            let link = links.iter().filter(|link| Mark::on(link).is_none()).find(is_it)?;
            Some((link, Origin::of_name(configured.parse().ok())))
        })
    }
}
