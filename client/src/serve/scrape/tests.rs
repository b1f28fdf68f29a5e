use std::net::Ipv4Addr;

use axum::extract::Request;
use futures::StreamExt as _;
use hyper_util::service::TowerToHyperService;

use super::*;
use crate::serve::places::Network;

/// The connection of a client that does not read. Disconnecting drops the answer.
type Connection = Arc<Mutex<Option<Response>>>;

/// More than all buffers hold.
const CHUNKS: usize = 100;

fn large() -> Router {
    let source: MetricsSource = Box::new(|| {
        let line = "x".repeat(CHUNK);
        let encoder: Encoder = Box::new(move |_, out| (0..CHUNKS).try_for_each(|_| out.write_str(&line)));
        Box::pin(async { encoder })
    });
    router(source, None)
}

/// Requests metrics from an address. The answer waits in the connection.
async fn request(router: &Router, last: u8, connection: &Connection) -> StatusCode {
    let held = Arc::downgrade(connection);
    let disconnect = move || {
        let held = held.upgrade();
        drop(held.and_then(|held| held.lock().unwrap().take()));
    };
    let client = RequestClient {
        network: Network::V4(Ipv4Addr::new(10, 0, 0, last)),
        disconnect: Arc::new(disconnect),
    };
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = METRICS.parse().unwrap();
    request.extensions_mut().insert(client);
    let router = TowerToHyperService::new(router.clone());
    let response = hyper::service::Service::call(&router, request).await.unwrap();
    let status = response.status();
    *connection.lock().unwrap() = Some(response);
    status
}

#[tokio::test]
async fn two_addresses_that_do_not_read_their_scrapes_leave_a_third_its_scrape() {
    let router = large();
    let slow = [1, 2].map(|last| (last, Connection::default()));
    for (last, connection) in &slow {
        assert_eq!(request(&router, *last, connection).await, StatusCode::OK);
    }
    let connection = Connection::default();
    assert_eq!(request(&router, 3, &connection).await, StatusCode::OK);
    let response = connection.lock().unwrap().take().unwrap();
    let sizes = response
        .into_body()
        .into_data_stream()
        .map(|chunk| chunk.unwrap().len());
    assert_eq!(
        sizes.collect::<Vec<_>>().await.iter().sum::<usize>(),
        CHUNKS * CHUNK
    );
    let left = slow
        .iter()
        .filter(|(_, connection)| connection.lock().unwrap().is_some());
    assert_eq!(left.count(), 1, "one of two was disconnected");
}
