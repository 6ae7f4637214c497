//! How this node is made known: in an object of our own, in flannel's annotations, or both; and the condition by which
//! the scheduler learns that it has a network.

use kube::core::Request;
use kube::core::params::{DeleteParams, GetParams, Patch, PatchParams};
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::annotations::AnnotationPrefix;
use super::api::{Api, ApiError, Call};
use super::node::Node;
use super::overlay_node::{self, OverlayNode};
use super::{KubernetesConf, Records};
use crate::claim::Claim;

/// The field manager of what is applied, in `metadata.managedFields`.
const MANAGER: &str = "overlayd";

/// What a node is known by.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Known {
    /// The Node that it belongs to.
    uid: String,
    claim: Claim,
}

impl Known {
    pub(super) fn claim(&self) -> &Claim {
        &self.claim
    }
}

/// Writes what differs.
pub(super) struct Publisher {
    api: Api,
    records: Records,
    prefix: AnnotationPrefix,
    sets_condition: bool,
}

impl Publisher {
    pub(super) fn new(api: Api, conf: &KubernetesConf) -> Self {
        Self {
            api,
            records: conf.records,
            prefix: conf.annotation_prefix.clone().unwrap_or_default(),
            sets_condition: conf.set_node_network_unavailable.unwrap_or(true),
        }
    }

    /// What this Node is to be known by: people may have chosen other addresses, such as cannot be read.
    pub(super) fn wanted(&self, node: &Node, mut claim: Claim) -> Result<Known, String> {
        self.prefix.overwrite(node, &mut claim)?;
        Ok(Known { uid: node.metadata.uid.clone(), claim })
    }

    /// Whether the Node says what it should.
    pub(super) fn is_known(&self, node: &Node, wanted: &Known) -> bool {
        self.annotations(node, wanted).is_none() && self.condition(node).is_none()
    }

    /// Makes this node known, where it is not yet: whether it was not. The Node is what it is afterwards.
    pub(super) async fn publish(&self, node: &mut Node, wanted: &Known) -> Result<bool, ApiError> {
        let name = node.metadata.name.clone();
        let mut wrote = false;
        if self.records.has_objects() && self.apply(node, wanted).await? {
            tracing::info!(node = name, "made known by an OverlayNode");
            wrote = true;
        }
        if let Some(patch) = self.annotations(node, wanted) {
            *node = self.patch_status(&name, patch).await?;
            tracing::info!(node = name, "made known by annotations of the Node");
            wrote = true;
        }
        if let Some(patch) = self.condition(node) {
            *node = self.patch_status(&name, patch).await?;
            tracing::info!(node = name, "the Node's condition NetworkUnavailable is False");
        }
        Ok(wrote)
    }

    fn annotations(&self, node: &Node, wanted: &Known) -> Option<Value> {
        self.records.has_annotations().then(|| self.prefix.patch(node, Some(&wanted.claim))).flatten()
    }

    /// What makes the condition `False`, if it is to be and is not.
    ///
    /// It is never made `True` again: kubelet says by itself that the network is not ready while STATUS of the plugin
    /// fails, and takes it back; a `True` of a daemon that has died would keep pods off a node that forwards well.
    fn condition(&self, node: &Node) -> Option<Value> {
        if !self.sets_condition || node.status.network_unavailable.0.as_deref() == Some("False") {
            return None;
        }
        let now = k8s_openapi::jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        Some(json!({ "status": { "conditions": [{
            "type": "NetworkUnavailable",
            "status": "False",
            "reason": "OverlaydIsUp",
            "message": "overlayd is running on this node",
            "lastTransitionTime": now,
            "lastHeartbeatTime": now,
        }] } }))
    }

    /// A strategic merge patch of `nodes/status`, which may change annotations, too, and nothing of the spec.
    async fn patch_status(&self, name: &str, patch: Value) -> Result<Node, ApiError> {
        let call = Call { verb: "patch", resource: "nodes/status" };
        let request = Request::new("/api/v1/nodes").patch_subresource(
            "status",
            name,
            &PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() },
            &Patch::Strategic(patch),
        );
        self.api.ask(call, request).await
    }

    /// Applies the OverlayNode if it is not there or says something else.
    async fn apply(&self, node: &Node, wanted: &Known) -> Result<bool, ApiError> {
        let name = &node.metadata.name;
        if let Some(there) = self.find(name).await?
            && there.is_owned_by(&node.metadata)
            && there.spec.as_ref() == Ok(&wanted.claim)
        {
            return Ok(false);
        }
        // What is applied and not there yet must be allowed to be created, too.
        let call = Call { verb: "create and patch", resource: overlay_node::RESOURCE };
        let body = overlay_node::applied(&node.metadata, &wanted.claim);
        let request =
            Request::new(overlay_node::PATH).patch(name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(body));
        self.api.ask::<IgnoredAny>(call, request).await?;
        Ok(true)
    }

    async fn find(&self, name: &str) -> Result<Option<OverlayNode>, ApiError> {
        let call = Call { verb: "get", resource: overlay_node::RESOURCE };
        let request = Request::new(overlay_node::PATH).get(name, &GetParams::default());
        match self.api.ask(call, request).await {
            Ok(object) => Ok(Some(object)),
            Err(ApiError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Takes back all that this node made known.
    pub(super) async fn withdraw(&self, name: &str) -> Result<(), ApiError> {
        if self.records.has_objects() {
            let call = Call { verb: "delete", resource: overlay_node::RESOURCE };
            let request = Request::new(overlay_node::PATH).delete(name, &DeleteParams::default());
            match self.api.ask::<IgnoredAny>(call, request).await {
                Ok(IgnoredAny) => tracing::info!(node = name, "its OverlayNode is removed"),
                Err(ApiError::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        if self.records.has_annotations()
            && let Some(node) = find_node(&self.api, name).await?
            && let Some(patch) = self.prefix.patch(&node, None)
        {
            self.patch_status(name, patch).await?;
            tracing::info!(node = name, "its annotations are removed");
        }
        Ok(())
    }
}

/// The Node with this name.
pub(super) async fn find_node(api: &Api, name: &str) -> Result<Option<Node>, ApiError> {
    let call = Call { verb: "get", resource: "nodes" };
    match api.ask(call, Request::new("/api/v1/nodes").get(name, &GetParams::default())).await {
        Ok(node) => Ok(Some(node)),
        Err(ApiError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
