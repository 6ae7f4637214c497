//! Interfaces that lead nowhere, or to a program.

use ferrule_tests::{Feature, require};
use serde_json::json;

use super::{Recipe, at, reaches};

#[test]
fn loopback() {
    let Some(recipe) = Recipe::of("loopback") else { return };
    let container = recipe.node().container("web").on("lo");
    container.place.sh("ip link set lo down");
    recipe.bed.network.add(&container).expect("ADD");
    assert!(reaches(&container.place, "127.0.0.1") && reaches(&container.place, "::1"));
    recipe.bed.network.check(&container).expect("CHECK");
    recipe.bed.network.del(&container).expect("DEL");
    recipe.at_the_terminal("");
}

#[test]
fn virtual_machine() {
    let Some(recipe) = Recipe::of("virtual-machine") else { return };
    let vm = recipe.attach("vm");
    let device = vm.interface();
    assert_eq!(at(&device, "/linkinfo/info_kind"), "tun");
    assert_eq!(
        (at(&device, "/linkinfo/info_data/persist"), at(&device, "/linkinfo/info_data/multi_queue")),
        (json!(true), json!(true))
    );
    assert_eq!(at(&device, "/mtu"), 1400);
    assert!(vm.ip(0).to_string().starts_with("10.93.0."));
    recipe.serve(&[&vm]);
}

#[test]
fn service_address() {
    if !require(Feature::Dummy) {
        return;
    }
    let Some(recipe) = Recipe::of("service-address") else { return };
    let web = recipe.attach("web");
    let _service = web.place().serve_tcp(80);
    for number in [0, 1] {
        assert_eq!(web.place().fetch_tcp(web.ip(number), 80).unwrap().from, "web");
    }
    recipe.serve(&[&web]);
}
