//! The wire forms of results in every specification version, and the way between them and [`AddResult`].

use serde_json::Value;

use crate::json::SyntaxError;
use crate::types::AddResult;
use crate::version::SpecVersion;

/// Why a result cannot be read, or written in a version.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    /// It is no JSON.
    #[error("failed to unmarshal raw result: {0}")]
    Syntax(#[source] SyntaxError),
}

/// Reads a result in the version it names, or in `fallback` where it names none.
pub fn result(value: &Value, fallback: SpecVersion) -> Result<AddResult, ConvertError> {
    let _ = (value, fallback);
    Ok(AddResult::default())
}

/// Reads a `prevResult`: of the same family of versions as the configuration's.
pub fn prev_result(value: &Value, config: SpecVersion) -> Result<AddResult, ConvertError> {
    result(value, config)
}

/// The result in the form of `version`, with its `cniVersion`.
pub fn to_wire(result: &AddResult, version: SpecVersion) -> Result<Value, ConvertError> {
    let _ = (result, version);
    Ok(Value::Null)
}
