//! Interfaces from outside the lab.

use xdp_lab::Lab;

#[test]
fn an_interface_of_another_namespace_is_moved_into_the_node() {
    let (other, lab) = (Lab::new().unwrap(), Lab::new().unwrap());
    let (outside, wire) = (
        other.namespace("outside").unwrap(),
        other.namespace("wire").unwrap(),
    );
    outside.wire("eth7", &wire, "wire0").unwrap();
    let adopted = outside.run(|| lab.node().adopt("eth7")).unwrap().unwrap();
    assert_eq!((adopted.name.as_str(), adopted.up), ("eth7", false));
    assert_eq!(outside.find_interface("eth7").unwrap(), None);
    lab.node().set_up("eth7", true).unwrap();
    lab.node()
        .wait_for_carrier("eth7", std::time::Duration::from_secs(20))
        .unwrap();
    let error = outside.run(|| lab.node().adopt("eth7")).unwrap().unwrap_err();
    assert!(error.to_string().contains("eth7"), "{error}");
}
