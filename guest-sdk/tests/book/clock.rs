//! A clock with timers and events.

use std::collections::BTreeMap;

use concoord::prelude::*;

/// An alarm clock.
#[concoord::object(event = Rang)]
#[derive(Default, Serialize, Deserialize)]
pub struct Clock {
    alarms: BTreeMap<u64, String>,
}

/// What the clock emits.
#[concoord::data]
#[derive(Debug, PartialEq)]
pub struct Rang {
    /// What it was set for.
    pub what: String,
}

#[concoord::methods]
impl Clock {
    /// Rings in so many milliseconds of the cluster's time.
    pub fn set(&mut self, cx: &mut Context, what: String, ms: u64) {
        let token = cx.position().0;
        cx.set_timer(token, Timestamp(cx.now().0 + 1000 * ms));
        self.alarms.insert(token, what);
    }

    fn timer(&mut self, cx: &mut Context, token: u64) {
        if let Some(what) = self.alarms.remove(&token) {
            cx.emit(what.clone(), &Rang { what });
        }
    }
}
