//! The nodes behind each subdomain, by type, for whoever answers questions about names.

use std::collections::{BTreeMap, BTreeSet};

use concoord::prelude::*;

/// The nodes of a subdomain, by their type.
pub type Nodes = BTreeMap<String, BTreeSet<String>>;

/// Subdomains and their nodes; it starts with none.
#[concoord::object]
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct NameserverCoord {
    subdomains: BTreeMap<String, Nodes>,
}

/// Why no nodes were found.
#[concoord::data]
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameserverCoordError {
    /// There is no such subdomain.
    #[error("there is no such subdomain")]
    NoSubdomain,
}

#[concoord::methods]
impl NameserverCoord {
    /// Adds a node to `subdomain`, which need not be there yet, and returns whether it was not there before.
    pub fn addnodetosubdomain(&mut self, subdomain: String, nodetype: String, node: String) -> bool {
        self.subdomains.entry(subdomain).or_default().entry(nodetype).or_default().insert(node)
    }

    /// Removes `subdomain` with its nodes, and returns whether it was there.
    pub fn delsubdomain(&mut self, subdomain: String) -> bool {
        self.subdomains.remove(&subdomain).is_some()
    }

    /// Removes a node, and returns whether it was there. The subdomain stays, even without nodes.
    pub fn delnodefromsubdomain(&mut self, subdomain: String, nodetype: String, node: String) -> bool {
        let nodes = self.subdomains.get_mut(&subdomain).and_then(|nodes| nodes.get_mut(&nodetype));
        nodes.is_some_and(|nodes| nodes.remove(&node))
    }

    /// Puts `nodes` in the place of all that `subdomain` has, which need not be there yet.
    pub fn updatesubdomain(&mut self, subdomain: String, nodes: Nodes) {
        self.subdomains.insert(subdomain, nodes);
    }

    /// The nodes of `subdomain`.
    pub fn getnodes(&self, subdomain: String) -> Result<Nodes, NameserverCoordError> {
        self.subdomains.get(&subdomain).cloned().ok_or(NameserverCoordError::NoSubdomain)
    }

    /// The first label of each subdomain.
    pub fn getsubdomains(&self) -> BTreeSet<String> {
        self.subdomains.keys().map(|name| name.split('.').next().unwrap_or_default().to_owned()).collect()
    }

    /// The whole name of each subdomain.
    pub fn getdomains(&self) -> BTreeSet<String> {
        self.subdomains.keys().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    fn add(coord: &mut NameserverCoord, [subdomain, nodetype, node]: [&str; 3]) -> bool {
        coord.addnodetosubdomain(subdomain.into(), nodetype.into(), node.into())
    }

    fn delete(coord: &mut NameserverCoord, [subdomain, nodetype, node]: [&str; 3]) -> bool {
        coord.delnodefromsubdomain(subdomain.into(), nodetype.into(), node.into())
    }

    fn nodes<const N: usize>(of: [(&str, &[&str]); N]) -> Nodes {
        let nodes = |nodes: &[&str]| nodes.iter().map(|node| (*node).to_owned()).collect();
        of.into_iter().map(|(nodetype, named)| (nodetype.to_owned(), nodes(named))).collect()
    }

    #[test]
    fn nodes_are_kept_by_subdomain_and_type() {
        let mut coord = NameserverCoord::default();
        let first = ["paxi.example.org", "replica", "10.0.0.1:14000"];
        assert!(add(&mut coord, first) && !add(&mut coord, first));
        assert!(add(&mut coord, ["paxi.example.org", "nameserver", "10.0.0.2:53"]));
        assert!(add(&mut coord, ["lock", "replica", "10.0.0.1:14000"]));
        let both = nodes([("nameserver", &["10.0.0.2:53"]), ("replica", &["10.0.0.1:14000"])]);
        assert_eq!(coord.getnodes("paxi.example.org".into()), Ok(both));
        assert_eq!(coord.getnodes("paxi".into()), Err(NameserverCoordError::NoSubdomain));
        assert_eq!(coord.getsubdomains(), BTreeSet::from(["lock".into(), "paxi".into()]));
        assert_eq!(coord.getdomains(), BTreeSet::from(["lock".into(), "paxi.example.org".into()]));
    }

    #[test]
    fn a_subdomain_outlives_its_nodes() {
        let mut coord = NameserverCoord::default();
        let node = ["lock", "replica", "a"];
        assert!(!delete(&mut coord, node) && add(&mut coord, node));
        assert!(!delete(&mut coord, ["lock", "replica", "b"]) && !delete(&mut coord, ["lock", "client", "a"]));
        assert!(delete(&mut coord, node) && !delete(&mut coord, node));
        assert_eq!(coord.getnodes("lock".into()), Ok(nodes([("replica", &[])])));
        let others = nodes([("client", &["b", "c"])]);
        coord.updatesubdomain("lock".into(), others.clone());
        assert_eq!(coord.getnodes("lock".into()), Ok(others));
        assert!(coord.delsubdomain("lock".into()) && !coord.delsubdomain("lock".into()));
        assert_eq!(coord.getdomains(), BTreeSet::new());
    }

    /// The model is a set of triples, and a set of names.
    #[test]
    fn any_calls_leave_the_nodes_that_were_added_last_and_not_removed() {
        for seed in 0..200 {
            let mut chance = StdRng::seed_from_u64(seed);
            let (mut coord, mut names) = (NameserverCoord::default(), BTreeSet::new());
            let mut triples = BTreeSet::<[&str; 3]>::new();
            for _ in 0..200 {
                let mut draw = |of: [&'static str; 3]| of[chance.random_range(0..3)];
                let triple = [draw(["a.x", "a.y", "b"]), draw(["1", "2", "3"]), draw(["n", "o", "p"])];
                match chance.random_range(0..8) {
                    0 => {
                        assert_eq!(coord.delsubdomain(triple[0].into()), names.remove(triple[0]), "seed {seed}");
                        triples.retain(|[name, ..]| *name != triple[0]);
                    }
                    1 => {
                        coord.updatesubdomain(triple[0].into(), nodes([(triple[1], &[triple[2]])]));
                        names.insert(triple[0]);
                        triples.retain(|[name, ..]| *name != triple[0]);
                        triples.insert(triple);
                    }
                    2..=4 => assert_eq!(delete(&mut coord, triple), triples.remove(&triple), "seed {seed}"),
                    _ => {
                        names.insert(triple[0]);
                        assert_eq!(add(&mut coord, triple), triples.insert(triple), "seed {seed}");
                    }
                }
            }
            let moved = NameserverCoord::import(&coord.export()).expect("its own export");
            assert_eq!(moved.getdomains().iter().map(String::as_str).collect::<BTreeSet<_>>(), names, "seed {seed}");
            let mut found = BTreeSet::new();
            for (name, nodes) in &moved.subdomains {
                found.extend(nodes.iter().flat_map(|(of, nodes)| nodes.iter().map(move |node| [name, of, node])));
            }
            let found: BTreeSet<_> = found.into_iter().map(|triple| triple.map(String::as_str)).collect();
            assert_eq!(found, triples, "seed {seed}");
        }
        assert!(NameserverCoord::import(&[]).is_err());
    }
}
