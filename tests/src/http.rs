//! HTTP as a container's neighbour speaks it: one page, no more.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use crate::Place;

/// How long a server may take that is expected to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The first page of a server, as somebody at `place` gets it.
///
/// # Errors
/// Why not.
pub fn page(place: &Place, address: IpAddr, port: u16) -> std::io::Result<String> {
    page_within(PATIENCE, place, address, port)
}

/// The same for who does not expect one.
///
/// # Errors
/// Why not.
pub fn page_within(limit: Duration, place: &Place, address: IpAddr, port: u16) -> std::io::Result<String> {
    get(limit, place, SocketAddr::new(address, port), "/").map(|answer| body(&answer))
}

/// Another page of a server.
///
/// # Errors
/// Why not.
pub fn page_at(place: &Place, server: SocketAddr, path: &str) -> std::io::Result<String> {
    get(PATIENCE, place, server, path).map(|answer| body(&answer))
}

/// The status of the answer, such as 200; 0 if it has none.
///
/// # Errors
/// Why there is no answer.
pub fn status_within(limit: Duration, place: &Place, server: SocketAddr, path: &str) -> std::io::Result<u16> {
    let answer = get(limit, place, server, path)?;
    Ok(answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default())
}

/// The body of the answer.
fn body(answer: &str) -> String {
    answer.rsplit("\r\n\r\n").next().unwrap_or_default().trim().to_owned()
}

fn get(limit: Duration, place: &Place, server: SocketAddr, path: &str) -> std::io::Result<String> {
    place.run(|| {
        let mut stream = TcpStream::connect_timeout(&server, limit)?;
        stream.set_read_timeout(Some(limit))?;
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    })
}
