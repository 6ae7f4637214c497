//! A user of etcd.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Value, json};

use super::error::EtcdError;
use super::{EtcdConf, Password};

/// A name and its password.
#[derive(Debug)]
pub(super) struct Login {
    name: String,
    password: Secret,
}

#[derive(Debug)]
enum Secret {
    Given(Password),
    In(PathBuf),
}

impl Login {
    /// # Errors
    /// [`EtcdError::HalfLogin`].
    pub(super) fn new(conf: &EtcdConf) -> Result<Option<Self>, EtcdError> {
        let password = match (&conf.password, &conf.password_file) {
            (_, Some(path)) => Some(Secret::In(path.clone())),
            (Some(password), None) => Some(Secret::Given(password.clone())),
            (None, None) => None,
        };
        match (&conf.username, password) {
            (Some(name), Some(password)) => Ok(Some(Self { name: name.clone(), password })),
            (None, None) => Ok(None),
            _ => Err(EtcdError::HalfLogin),
        }
    }

    /// What a server is asked for a token with. A file is read each time: that is how a new password is seen.
    pub(super) fn request(&self) -> Result<Value, EtcdError> {
        let password = match &self.password {
            Secret::Given(password) => password.0.clone(),
            Secret::In(path) => std::fs::read_to_string(path)
                .map(|text| text.trim_end_matches(['\r', '\n']).to_owned())
                .map_err(|source| EtcdError::Password { path: path.clone(), source })?,
        };
        Ok(json!({ "name": self.name, "password": password }))
    }
}

/// What the server answers.
#[derive(Deserialize)]
pub(super) struct Authenticated {
    pub(super) token: String,
}
