//! Lists of attachments that are to be kept.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;

use libcni::json;
use libcni::store::StoreError;
use libcni::types::AttachmentId;
use serde_json::Value;

use super::Keep;
use crate::error::ToolError;

/// The keys under which plugins are told which attachments are valid.
const KEYS: [&str; 2] = ["cni.dev/valid-attachments", "cni.dev/attachments"];

/// What the command line says.
pub(super) fn chosen(listed: &[String], file: Option<&Path>, none: bool) -> Result<Keep, ToolError> {
    if none {
        return Ok(Keep::None);
    }
    if listed.is_empty() && file.is_none() {
        return Ok(Keep::Living);
    }
    let mut kept: BTreeSet<AttachmentId> = listed.iter().map(|text| parse_one(text)).collect::<Result<_, _>>()?;
    if let Some(file) = file {
        kept.extend(parse(&read(file)?)?);
    }
    Ok(Keep::Listed(kept))
}

fn read(file: &Path) -> Result<String, ToolError> {
    let mut text = String::new();
    let read = if file == Path::new("-") {
        std::io::stdin().read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|mut file| file.read_to_string(&mut text))
    };
    match read {
        Ok(_) => Ok(text),
        Err(fault) => Err(ToolError::KeepFile(StoreError::on("read", file)(fault))),
    }
}

/// JSON, or lines; empty ones and those that begin with `#` say nothing.
fn parse(text: &str) -> Result<Vec<AttachmentId>, ToolError> {
    if text.trim_start().starts_with(['[', '{']) {
        return parse_json(text);
    }
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).map(parse_one).collect()
}

fn parse_json(text: &str) -> Result<Vec<AttachmentId>, ToolError> {
    let invalid = |problem: String| ToolError::Keep { value: "the JSON list".to_owned(), problem };
    let value = json::parse(text.as_bytes()).map_err(|fault| invalid(fault.to_string()))?;
    let list = match &value {
        Value::Object(object) => KEYS.iter().find_map(|key| json::member(object, key)),
        list => Some(list),
    };
    let list = list.ok_or_else(|| invalid(format!("missing field {}", KEYS[0])))?;
    json::decode(list).map_err(|fault| invalid(fault.to_string()))
}

fn parse_one(text: &str) -> Result<AttachmentId, ToolError> {
    let invalid = |problem: String| ToolError::Keep { value: format!("\"{text}\""), problem };
    let (container, ifname) = text.split_once('/').ok_or_else(|| invalid("expected CONTAINER/IFNAME".to_owned()))?;
    Ok(AttachmentId {
        container_id: container.parse().map_err(|rule| invalid(format!("container ID: {rule}")))?,
        ifname: ifname.parse().map_err(|rule| invalid(format!("interface name: {rule}")))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(text: &str) -> Vec<String> {
        parse(text).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn lines_and_json_name_attachments() {
        assert_eq!(ids("web/eth0\n\n# a comment\n  db/net1 \n"), ["web eth0", "db net1"]);
        let list = r#"[{"containerID": "web", "ifname": "eth0"}]"#;
        assert_eq!(ids(list), ["web eth0"]);
        assert_eq!(ids(&format!(r#"{{"cni.dev/valid-attachments": {list}}}"#)), ["web eth0"]);
        assert_eq!(ids("[]"), Vec::<String>::new());
    }

    #[test]
    fn what_names_none_is_refused() {
        let refusal = |text| parse(text).unwrap_err().to_string();
        assert_eq!(refusal("web"), "cannot keep \"web\": expected CONTAINER/IFNAME");
        assert!(refusal("we b/eth0").starts_with("cannot keep \"we b/eth0\": container ID: "));
        assert!(refusal("{}").contains("missing field cni.dev/valid-attachments"));
        assert!(refusal(r#"[{"containerID": "web"}]"#).contains("ifname"));
    }

    #[test]
    fn an_empty_list_keeps_nobody_and_no_list_the_living() {
        assert_eq!(chosen(&[], None, false).unwrap(), Keep::Living);
        assert_eq!(chosen(&[], None, true).unwrap(), Keep::None);
        let empty = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(chosen(&[], Some(empty.path()), false).unwrap(), Keep::Listed(BTreeSet::new()));
    }
}
