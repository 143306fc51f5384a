use concoord::prelude::*;

#[concoord::object]
#[derive(Default, Serialize, Deserialize)]
pub struct Jobs {
    all: Vec<u64>,
}

/// Not marked as data.
pub struct Job(u64);

#[derive(Serialize, Deserialize)]
#[serde(crate = "concoord::__private::serde")]
pub struct Halfway(u64);

#[concoord::methods]
impl Jobs {
    pub fn add(&mut self, job: Job) -> u64 {
        self.all.push(job.0);
        job.0
    }

    pub fn last(&self) -> Option<Job> {
        self.all.last().map(|job| Job(*job))
    }

    pub fn first(&self) -> Result<u64, Halfway> {
        self.all.first().copied().ok_or(Halfway(0))
    }
}

fn main() {}
