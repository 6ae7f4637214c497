//! What goes wrong between the store and the API, and what the engine hears of it.

use super::{Bed, cluster, node, overlay_node};
use crate::store::News;
use crate::store::kubernetes::Records;

#[test]
fn a_refusal_names_the_verb_and_the_resource_once() {
    let api = cluster();
    api.forbid("watch", "overlaynodes");
    let bed = Bed::start(api, Records::OverlayNodes);
    assert!(matches!(bed.next(), News::Subnets(_)));
    let News::Unreachable(why) = bed.next() else { panic!("nothing wrong") };
    assert!(why.contains("must allow watch of overlaynodes.ferrule.dev"), "{why}");
    bed.wait("overlaynodes", "n1", "spec", |object| object["spec"].is_object());
    bed.api.allow_all();
    assert!(matches!(bed.next(), News::All(_)));
    assert_eq!(bed.next(), News::Reachable);
}

#[test]
fn a_node_that_may_not_write_says_so_and_still_hears_of_the_others() {
    let api = cluster();
    api.forbid("patch", "nodes/status");
    let bed = Bed::start(api, Records::OverlayNodes);
    assert!(matches!(bed.next(), News::Subnets(_)));
    let mut news = vec![bed.next(), bed.next(), bed.next()];
    let why =
        news.iter().find_map(|news| if let News::Unreachable(why) = news { Some(why.clone()) } else { None }).unwrap();
    assert!(why.contains("must allow patch of nodes/status"), "{why}");
    news.retain(|news| matches!(news, News::All(_) | News::Changed(_)));
    assert_eq!(news.len(), 2);
    bed.api.allow_all();
    assert_eq!(bed.next(), News::Reachable);
}

#[test]
fn a_time_without_the_api_is_told_once_and_nothing_is_missed() {
    let bed = Bed::settled(cluster(), Records::OverlayNodes);
    assert!(matches!(bed.next(), News::Changed(_)));
    bed.published();
    bed.api.set_down(true);
    assert!(matches!(bed.next(), News::Unreachable(why) if why.contains("does not answer")));
    bed.api.put("overlaynodes", overlay_node("n2", "10.244.2.0/24"));
    bed.api.set_down(false);
    assert!(matches!(bed.next_of_nodes(), News::Changed(record) if record.name == "n2"));
    bed.settle();
}

#[test]
fn a_connection_that_is_cut_goes_on_where_it_was() {
    let bed = Bed::settled(cluster(), Records::OverlayNodes);
    assert!(matches!(bed.next(), News::Changed(_)));
    bed.published();
    // A bookmark is a place to go on from, too.
    bed.api.put("overlaynodes", overlay_node("n2", "10.244.2.0/24"));
    assert!(matches!(bed.next(), News::Changed(record) if record.name == "n2"));
    bed.api.requests();
    bed.api.bookmark();
    bed.api.put("nodes", node("n9", "10.244.9.0/24"));
    bed.api.cut();
    bed.api.put("overlaynodes", overlay_node("n3", "10.244.3.0/24"));
    assert!(matches!(bed.next_of_nodes(), News::Changed(record) if record.name == "n3"));
    bed.settle();
    let requests = bed.api.requests();
    assert!(requests.iter().all(|request| !request.contains("sendInitialEvents")), "{requests:?}");
}

#[test]
fn what_the_api_has_forgotten_is_listed_again() {
    let bed = Bed::settled(cluster(), Records::OverlayNodes);
    assert!(matches!(bed.next(), News::Changed(_)));
    bed.published();
    bed.api.set_down(true);
    bed.api.put("overlaynodes", overlay_node("n2", "10.244.2.0/24"));
    bed.api.forget();
    bed.api.set_down(false);
    loop {
        match bed.next() {
            News::All(records) => break assert_eq!(records.len(), 2),
            News::Reachable | News::Unreachable(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_server_that_cannot_stream_lists_is_asked_for_pages() {
    let api = cluster();
    api.without_streams();
    for i in 0..=600 {
        api.put("overlaynodes", overlay_node(&format!("m{i:03}"), "10.244.2.0/24"));
    }
    let bed = Bed::start(api, Records::OverlayNodes);
    assert!(matches!(bed.next(), News::Subnets(_)));
    let News::All(records) = bed.next() else { panic!("not all") };
    let names: Vec<_> = records.iter().map(|record| record.name.clone()).filter(|name| name != "n1").collect();
    assert_eq!(names, (0..=600).map(|i| format!("m{i:03}")).collect::<Vec<_>>());
    let requests = bed.api.requests();
    let pages = requests.iter().filter(|request| request.contains("overlaynodes?") && !request.contains("watch=true"));
    assert_eq!(pages.count(), 3, "{requests:?}");
    bed.api.put("overlaynodes", overlay_node("n2", "10.244.2.0/24"));
    while !matches!(bed.next(), News::Changed(record) if record.name == "n2") {}
}
