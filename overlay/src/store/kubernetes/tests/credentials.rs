//! Where the API is, and who this node is to it.

use libcni::store::write_atomic;
use tokio::runtime::Builder;

use super::fake::Fake;
use super::flannel_node;
use crate::store::kubernetes::connection::connect;
use crate::store::kubernetes::{KubernetesConf, chosen_addresses};

#[test]
fn a_kubeconfig_says_where_the_api_is_and_its_files_are_looked_at() {
    let api = Fake::start();
    api.put("nodes", flannel_node("n1", "10.244.1.0/24", "192.0.2.1"));
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| write_atomic(&dir.path().join(name), text.as_bytes(), 0o600).unwrap();
    let kubeconfig = |url: &str| {
        put(
            "config",
            &format!(
                "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n\
                 clusters: [{{name: c, cluster: {{server: \"{url}\", certificate-authority: ca.crt}}}}]\n\
                 users: [{{name: u, user: {{token: secret, tokenFile: token}}}}]\n"
            ),
        );
    };
    let authority = include_str!("ca.crt");
    put("ca.crt", authority);
    put("token", "secret");
    kubeconfig(&api.url());
    let conf = KubernetesConf { kubeconfig: Some(dir.path().join("config")), ..KubernetesConf::default() };
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    assert_eq!(runtime.block_on(chosen_addresses(&conf, "n1")).unwrap(), (None, None));

    // The URL of the configuration wins.
    kubeconfig("http://127.0.0.1:1");
    runtime.block_on(chosen_addresses(&conf, "n1")).unwrap_err();
    let conf = KubernetesConf { api_url: Some(api.url()), ..conf };
    runtime.block_on(chosen_addresses(&conf, "n1")).unwrap();

    let (_, files) = runtime.block_on(connect(&conf)).unwrap();
    assert!(!files.have_changed());
    put("ca.crt", &format!("{authority}\n"));
    assert!(files.have_changed());
    put("config", "what");
    let error = runtime.block_on(chosen_addresses(&conf, "n1")).unwrap_err().to_string();
    assert!(error.contains("cannot use the kubeconfig"), "{error}");
}
