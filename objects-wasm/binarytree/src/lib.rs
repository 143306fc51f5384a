//! A binary search tree. It is not balanced: its shape is that of the order in which the keys came.

use concoord::prelude::*;

/// A binary search tree that starts empty and has each key once.
#[concoord::object]
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct BinaryTree {
    root: Option<u32>,
    /// Links are places in here, so that a deep tree is no deep value: nothing recurses over it.
    nodes: Vec<Node>,
    /// Places of deleted nodes.
    free: Vec<u32>,
}

#[concoord::data]
#[derive(Debug)]
struct Node {
    key: i64,
    /// Lower keys, higher keys.
    children: [Option<u32>; 2],
}

/// Where a node hangs: under which one and on which side of it; `None` for the root.
type Link = Option<(u32, usize)>;

#[concoord::methods]
impl BinaryTree {
    /// Puts `key` in, and returns whether it was not there before.
    pub fn insert(&mut self, key: i64) -> bool {
        let (link, None) = self.search(key) else { return false };
        let node = Node { key, children: [None; 2] };
        let place = self.free.pop().unwrap_or(self.nodes.len() as u32);
        match self.nodes.get_mut(place as usize) {
            Some(freed) => *freed = node,
            None => self.nodes.push(node),
        }
        self.attach(link, Some(place));
        true
    }

    /// Whether `key` is there.
    pub fn find(&self, key: i64) -> bool {
        self.search(key).1.is_some()
    }

    /// Takes `key` out, and returns whether it was there.
    pub fn delete(&mut self, key: i64) -> bool {
        let (link, Some(place)) = self.search(key) else { return false };
        let [lower, higher] = self.nodes[place as usize].children;
        match lower.and_then(|_| self.outermost(higher, 0)) {
            // The next higher key has no lower one below it, so deleting that ends here.
            Some(next) => {
                self.delete(next);
                self.nodes[place as usize].key = next;
            }
            None => {
                self.attach(link, lower.or(higher));
                self.free.push(place);
            }
        }
        true
    }

    /// The lowest key, if there is one.
    pub fn get_min(&self) -> Option<i64> {
        self.outermost(self.root, 0)
    }

    /// The highest key, if there is one.
    pub fn get_max(&self) -> Option<i64> {
        self.outermost(self.root, 1)
    }

    /// How many nodes the longest way from the root down has.
    pub fn get_depth(&self) -> u64 {
        let mut deepest = 0;
        let mut waiting: Vec<(u32, u64)> = self.root.map(|root| (root, 1)).into_iter().collect();
        while let Some((place, depth)) = waiting.pop() {
            deepest = deepest.max(depth);
            waiting.extend(self.nodes[place as usize].children.into_iter().flatten().map(|child| (child, depth + 1)));
        }
        deepest
    }

    /// How many keys there are.
    pub fn get_size(&self) -> u64 {
        (self.nodes.len() - self.free.len()) as u64
    }

    /// Where `key` hangs or would hang, and the place of its node.
    fn search(&self, key: i64) -> (Link, Option<u32>) {
        let (mut link, mut place) = (None, self.root);
        while let Some(at) = place {
            let node = &self.nodes[at as usize];
            if node.key == key {
                break;
            }
            let side = usize::from(key > node.key);
            (link, place) = (Some((at, side)), node.children[side]);
        }
        (link, place)
    }

    fn attach(&mut self, link: Link, place: Option<u32>) {
        match link {
            None => self.root = place,
            Some((above, side)) => self.nodes[above as usize].children[side] = place,
        }
    }

    /// The last key on one side of what hangs at `place`.
    fn outermost(&self, mut place: Option<u32>, side: usize) -> Option<i64> {
        let mut key = None;
        while let Some(at) = place {
            let node = &self.nodes[at as usize];
            (key, place) = (Some(node.key), node.children[side]);
        }
        key
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    fn of(keys: impl IntoIterator<Item = i64>) -> BinaryTree {
        let mut tree = BinaryTree::default();
        for key in keys {
            tree.insert(key);
        }
        tree
    }

    /// The depth by definition; only for trees that are not deep.
    fn depth(tree: &BinaryTree, place: Option<u32>) -> u64 {
        place.map_or(0, |at| {
            let [lower, higher] = tree.nodes[at as usize].children;
            1 + depth(tree, lower).max(depth(tree, higher))
        })
    }

    #[test]
    fn the_order_of_the_keys_makes_the_shape() {
        let empty = BinaryTree::default();
        assert_eq!((empty.get_min(), empty.get_max(), empty.get_depth(), empty.get_size()), (None, None, 0, 0));
        let even = of([4, 2, 6, 1, 3, 5, 7]);
        assert_eq!((even.get_min(), even.get_max(), even.get_depth(), even.get_size()), (Some(1), Some(7), 3, 7));
        assert_eq!(of(1..=7).get_depth(), 7);
        assert_eq!(of([i64::MAX, i64::MIN, 0]).get_depth(), 3);
    }

    #[test]
    fn keys_are_there_once() {
        let mut tree = BinaryTree::default();
        assert_eq!([tree.insert(1), tree.insert(1), tree.find(1), tree.find(2)], [true, false, true, false]);
        assert_eq!([tree.delete(2), tree.delete(1), tree.delete(1), tree.find(1)], [false, true, false, false]);
    }

    /// Of a node with both, the next higher key takes the place; of one with one child, that child.
    #[test]
    fn what_hangs_below_a_deleted_key_stays() {
        let mut tree = of([4, 2, 6, 1, 3, 5, 7]);
        assert!(tree.delete(4));
        assert_eq!((tree.nodes[0].key, tree.get_depth(), tree.get_size()), (5, 3, 6));
        assert!(tree.delete(6) && tree.delete(5));
        assert_eq!((tree.nodes[0].key, tree.get_depth(), tree.get_size()), (7, 3, 4));
        assert!(tree.delete(7));
        assert_eq!((tree.get_depth(), tree.get_size(), tree.get_max()), (2, 3, Some(3)));
    }

    #[test]
    fn any_calls_leave_a_search_tree_of_the_keys_that_are_in() {
        for seed in 0..200 {
            let (mut chance, mut tree, mut model) =
                (StdRng::seed_from_u64(seed), BinaryTree::default(), BTreeSet::new());
            for _ in 0..300 {
                let key = chance.random_range(-20..20);
                match chance.random_range(0..5) {
                    0..=2 => assert_eq!(tree.insert(key), model.insert(key), "seed {seed}"),
                    _ => assert_eq!(tree.delete(key), model.remove(&key), "seed {seed}"),
                }
                assert_eq!(tree.find(key), model.contains(&key), "seed {seed}");
                let ends = (model.first().copied(), model.last().copied());
                assert_eq!((tree.get_min(), tree.get_max()), ends, "seed {seed}");
                assert_eq!(tree.get_size(), model.len() as u64, "seed {seed}");
                assert_eq!(tree.get_depth(), depth(&tree, tree.root), "seed {seed}");
            }
            assert!(tree.nodes.len() <= 40, "places are used again");
            let moved = BinaryTree::import(&tree.export()).expect("its own export");
            let all: Vec<i64> = (-20..20).filter(|key| moved.find(*key)).collect();
            assert_eq!(all, model.into_iter().collect::<Vec<_>>(), "seed {seed}");
            assert_eq!(moved.get_depth(), tree.get_depth(), "seed {seed}");
        }
        assert!(BinaryTree::import(&[]).is_err());
    }

    /// A million sorted inserts make this, one below the other; making it by them takes hours.
    #[test]
    fn a_tree_may_be_a_million_deep() {
        let count = 1_000_000_u32;
        let node =
            |place: u32| Node { key: place.into(), children: [None, Some(place + 1).filter(|next| *next < count)] };
        let tree = BinaryTree { root: Some(0), nodes: (0..count).map(node).collect(), free: vec![] };
        let mut tree = BinaryTree::import(&tree.export()).expect("its own export");
        let last = i64::from(count) - 1;
        assert_eq!((tree.get_depth(), tree.get_size()), (count.into(), count.into()));
        assert_eq!((tree.get_min(), tree.get_max()), (Some(0), Some(last)));
        assert!(tree.insert(last + 1) && tree.delete(last / 2) && tree.delete(0) && tree.find(last));
        assert_eq!((tree.get_depth(), tree.get_min()), (u64::from(count) - 1, Some(1)));
    }

    /// The same shape, small enough to be made by its inserts.
    #[test]
    fn sorted_inserts_make_a_chain() {
        let tree = of(0..2000);
        assert!(tree.nodes.iter().enumerate().all(|(place, node)| node.key == place as i64));
        assert_eq!(tree.get_depth(), 2000);
    }
}
