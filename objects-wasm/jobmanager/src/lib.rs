//! Jobs that are to be done, for those who hand them out and those who do them.

use std::collections::BTreeMap;

use concoord::prelude::*;

/// A list of jobs that starts empty. It starts none of them: programs read the list, and do them.
#[concoord::object]
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct JobManager {
    jobs: Vec<Job>,
}

/// A job.
#[concoord::data]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its name, which no other job has.
    pub name: String,
    /// What is known of it.
    pub attributes: BTreeMap<String, String>,
}

/// Why the list is as it was.
#[concoord::data]
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum JobManagerError {
    /// A job of this name is scheduled already.
    #[error("a job of this name is scheduled already")]
    AlreadyScheduled,
    /// No job of this name is scheduled.
    #[error("no job of this name is scheduled")]
    NotScheduled,
}

#[concoord::methods]
impl JobManager {
    /// Adds a job at the end.
    pub fn schedule(&mut self, job: String) -> Result<(), JobManagerError> {
        if self.place(&job).is_ok() {
            return Err(JobManagerError::AlreadyScheduled);
        }
        self.jobs.push(Job { name: job, attributes: BTreeMap::new() });
        Ok(())
    }

    /// Takes a job off the list, and returns what is known of it.
    pub fn deschedule(&mut self, job: String) -> Result<Job, JobManagerError> {
        let place = self.place(&job)?;
        Ok(self.jobs.remove(place))
    }

    /// Notes `value` as the attribute `key` of a job.
    pub fn update(&mut self, job: String, key: String, value: String) -> Result<(), JobManagerError> {
        let place = self.place(&job)?;
        self.jobs[place].attributes.insert(key, value);
        Ok(())
    }

    /// All jobs, the one that was scheduled first in front.
    pub fn list_jobs(&self) -> Vec<Job> {
        self.jobs.clone()
    }

    fn place(&self, job: &str) -> Result<usize, JobManagerError> {
        self.jobs.iter().position(|known| known.name == job).ok_or(JobManagerError::NotScheduled)
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    fn job(name: &str, attributes: &[(&str, &str)]) -> Job {
        let attributes = attributes.iter().map(|(key, value)| ((*key).into(), (*value).into()));
        Job { name: name.into(), attributes: attributes.collect() }
    }

    #[test]
    fn jobs_stand_in_the_order_in_which_they_came() {
        let mut jobs = JobManager::default();
        let schedule = |jobs: &mut JobManager, name: &str| jobs.schedule(name.into());
        assert_eq!(["tidy", "back up"].map(|name| schedule(&mut jobs, name)), [Ok(()), Ok(())]);
        assert_eq!(schedule(&mut jobs, "tidy"), Err(JobManagerError::AlreadyScheduled));
        assert_eq!(jobs.update("tidy".into(), "at".into(), "3:00".into()), Ok(()));
        assert_eq!(jobs.update("tidy".into(), "at".into(), "4:00".into()), Ok(()));
        assert_eq!(jobs.update("cook".into(), "at".into(), "12:00".into()), Err(JobManagerError::NotScheduled));
        assert_eq!(jobs.list_jobs(), [job("tidy", &[("at", "4:00")]), job("back up", &[])]);
        assert_eq!(jobs.deschedule("tidy".into()), Ok(job("tidy", &[("at", "4:00")])));
        assert_eq!(jobs.deschedule("tidy".into()), Err(JobManagerError::NotScheduled));
        assert_eq!(schedule(&mut jobs, "tidy"), Ok(()));
        assert_eq!(jobs.list_jobs(), [job("back up", &[]), job("tidy", &[])]);
    }

    /// The model numbers what is scheduled, and has the attributes in a table of their own.
    #[test]
    fn any_calls_leave_what_was_scheduled_and_not_taken_off() {
        for seed in 0..200 {
            let mut chance = StdRng::seed_from_u64(seed);
            let (mut jobs, mut numbers) = (JobManager::default(), BTreeMap::new());
            let mut attributes = BTreeMap::<(String, String), String>::new();
            for number in 0..200 {
                let name = chance.random_range(0..6).to_string();
                let is_there = numbers.values().any(|known| *known == name);
                match chance.random_range(0..4) {
                    0 => {
                        assert_eq!(jobs.schedule(name.clone()).is_ok(), !is_there, "seed {seed}");
                        if !is_there {
                            numbers.insert(number, name);
                        }
                    }
                    1 => {
                        assert_eq!(jobs.deschedule(name.clone()).is_ok(), is_there, "seed {seed}");
                        numbers.retain(|_, known| *known != name);
                        attributes.retain(|(of, _), _| *of != name);
                    }
                    _ => {
                        let key = chance.random_range(0..3).to_string();
                        let updated = jobs.update(name.clone(), key.clone(), number.to_string());
                        assert_eq!(updated.is_ok(), is_there, "seed {seed}");
                        if is_there {
                            attributes.insert((name, key), number.to_string());
                        }
                    }
                }
            }
            let moved = JobManager::import(&jobs.export()).expect("its own export").list_jobs();
            assert!(moved.iter().map(|job| &job.name).eq(numbers.values()), "seed {seed}: {moved:?}");
            let mut found = BTreeMap::new();
            for Job { name, attributes } in moved {
                found.extend(attributes.into_iter().map(|(key, value)| ((name.clone(), key), value)));
            }
            assert_eq!(found, attributes, "seed {seed}");
        }
        assert!(JobManager::import(&[]).is_err());
    }
}
