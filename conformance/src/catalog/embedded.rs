//! Written by `conformance/list-cases`: every file of `cases/`.

/// `GROUP/NAME` and the text of the file.
pub(super) const CASES: &[(&str, &str)] = &[
    ("protocol/bad-json", include_str!("../../cases/protocol/bad-json.json")),
    ("protocol/error-object", include_str!("../../cases/protocol/error-object.json")),
    ("protocol/missing-variable", include_str!("../../cases/protocol/missing-variable.json")),
    ("protocol/unknown-version", include_str!("../../cases/protocol/unknown-version.json")),
    ("protocol/version-reply", include_str!("../../cases/protocol/version-reply.json")),
    ("verbs/add-check-del", include_str!("../../cases/verbs/add-check-del.json")),
    ("verbs/check-link-gone", include_str!("../../cases/verbs/check-link-gone.json")),
    ("verbs/del-gone-netns", include_str!("../../cases/verbs/del-gone-netns.json")),
    ("verbs/del-twice", include_str!("../../cases/verbs/del-twice.json")),
    ("verbs/gc-of-nothing-valid", include_str!("../../cases/verbs/gc-of-nothing-valid.json")),
    ("verbs/status", include_str!("../../cases/verbs/status.json")),
];

/// The plugins that the suite knows.
pub(super) const PLUGINS: &str = include_str!("../../plugins.json");
